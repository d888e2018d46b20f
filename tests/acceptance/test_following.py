"""`sidecar tail` and `sidecar turns show` beside a running sidecar."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.acceptance.stage import stage
from tests.acceptance.test_operator_cancel import command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.acceptance.process import SidecarProcess

WAIT_S = 20


@asynccontextmanager
async def tailing(sidecar: SidecarProcess, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", "tail", "-c", str(sidecar.config), *options, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        return (await process.stdout.readline()).decode()


async def test_turns_are_followed_as_they_change_and_shown_afterwards(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await running.answering()
        async with tailing(running.process, "--json") as tail, tailing(running.process, "--state", "cancelled") as some:
            first = json.loads(await line_of(tail))
            assert (first["request_id"], first["state"]) == ("r1", "open")
            chat.client.close()
            states = []
            while "cancelled" not in states:
                states.append(json.loads(await line_of(tail))["state"])
            assert set(states) <= {"cancelling", "cancelled"}
            assert "cancelled (closed)" in await line_of(some)
            tail.send_signal(signal.SIGINT)
            assert await tail.wait() == 130

        code, shown = await command(running.process, "turns", "show", first["id"])
        assert code == 0
        assert "cancel delivered (attempt 1)" in shown
        assert shown.rstrip().splitlines()[-1].split()[0] == "■"
        code, shown = await command(running.process, "turns", "show", first["id"], "--json")
        assert [entry["what"] for entry in json.loads(shown)["history"]][-1] == "settled"
        code, told = await command(running.process, "turns", "show", "nobody")
        assert (code, told) == (2, "sidecar: no turn nobody; `sidecar turns list` shows those there are\n")
