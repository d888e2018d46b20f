"""Clients that come in by a Unix socket: also after a crash, which leaves its file behind."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

from tests.acceptance.stage import CANCEL, ROLLBACK, stage


async def test_a_crash_leaves_a_file_that_the_next_start_replaces(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as short:  # a socket's path has to be
        path = Path(short) / "http.sock"
        address = f"unix:{path}"
        async with stage(tmp_path, listen={"address": address, "unix_mode": "600"}) as running:
            await running.process.kill()
            assert path.exists()
            await running.process.start()
            assert running.process.log("listening")[-1]["address"] == address
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            chat = await running.answering(client=await running.client(url=address))
            chat.client.close()
            await running.turn_in("cancelled")
            assert running.admin.lines == [CANCEL, ROLLBACK]
            await running.end()
            assert not path.exists()
