"""A copy of the journal, made beside the running sidecar as docs/OPERATING.md says: what was owed in it is done."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from tests.fakes.admin_faults import answering
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from sidecar.demo.backend import LegacyBackend
    from tests.acceptance.process import SidecarProcess

PAGE: Final = Path(__file__).parents[2] / "docs" / "OPERATING.md"
DEADLINE_S: Final = 30.0


def command() -> str:
    found = re.search(r"<!-- backup -->\n```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def copy(folder: Path) -> None:
    """Type what the page says."""
    subprocess.run(["bash", "-c", command()], check=True, cwd=folder, timeout=DEADLINE_S)


def bring_back(folder: Path) -> None:
    """Do as the page says."""
    for file in ("sidecar.db-wal", "sidecar.db-shm"):
        (folder / file).unlink(missing_ok=True)
    (folder / "copy.db").rename(folder / "sidecar.db")


async def test_what_was_owed_when_it_was_copied_is_done(
    backend: LegacyBackend, sidecar: SidecarProcess, tmp_path: Path
) -> None:
    backend.admin_fault = answering(503)
    async with (
        aiohttp.ClientSession(sidecar.url) as person,
        person.post("/api/ai-coach/chat", json={}, headers={"X-Request-Id": "req_1"}) as response,
    ):
        await response.content.readany()
        response.close()
    await eventually(lambda: sidecar.turns() == {"req_1": "cancelling"}, DEADLINE_S)
    copy(tmp_path)

    await sidecar.kill()
    bring_back(tmp_path)
    backend.admin_fault = None
    await sidecar.start()

    assert await sidecar.until_settled(DEADLINE_S) == {"req_1": "cancelled"}
    assert backend.kept() == ()
