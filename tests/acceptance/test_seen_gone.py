"""Gone means seen gone (law 7): a running `sidecar run`, judged by the database of a backend that saves late."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from sidecar.demo.backend import BackendKnobs, LegacyBackend
from tests.acceptance.process import SidecarProcess
from tests.acceptance.stage import CANCEL, ROLLBACK, stage
from tests.fakes.downstream import Downstream
from tests.fakes.waiting import AT_ONCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOOK: Final = "GET /admin/conversations/c1"
VERIFY: Final = {"verify": {"method": "GET", "path": "/admin/conversations/{conversation_id}"}}
ADMIN: Final[dict[str, Any]] = {**VERIFY, "verify_after_s": [0.3, 1.0], "backoff_first_s": 0.05}


@asynccontextmanager
async def before(backend: LegacyBackend, folder: Path) -> AsyncIterator[SidecarProcess]:
    process = SidecarProcess(folder, backend.url, tables={"admin": ADMIN})
    await process.start()
    try:
        yield process
        assert await process.terminate() == 0
        assert "Traceback" not in process.log_text()
    finally:
        await process.close()


async def abandon(process: SidecarProcess) -> None:
    """Have a client leave in the middle of its answer."""
    client = await Downstream.connect(process.url)
    await client.chat("X-Request-Id: r1")
    await client.head()
    await client.chunk()
    client.close()


def calls(backend: LegacyBackend, method: str) -> list[int | None]:
    """Give what the admin API's calls of a method were answered, in their order."""
    return [call.status for call in backend.calls if call.method == method]


async def test_a_backend_that_saves_late_is_rolled_back_again(tmp_path: Path) -> None:
    late = BackendKnobs(words=12, word_s=0.05, saves_late=True)
    async with LegacyBackend.serve(late, path=tmp_path / "backend.db") as backend, before(backend, tmp_path) as process:
        await abandon(process)
        assert await process.until_settled(15) == {"r1": "cancelled"}

        assert backend.generations["r1"].finished, "it was saved after all"
        assert backend.kept() == ()
        assert calls(backend, "POST") == [200]
        assert calls(backend, "DELETE") == [204, 204]
        looks = calls(backend, "GET")
        assert looks.count(200) == 1, "it was seen once"
        assert looks[-3:] == [404, 404, 404], "and then gone at each look"


async def test_a_backend_that_lets_go_is_looked_at_as_often_as_planned(tmp_path: Path) -> None:
    knobs = BackendKnobs(words=12, word_s=0.05)
    async with (
        LegacyBackend.serve(knobs, path=tmp_path / "backend.db") as backend,
        before(backend, tmp_path) as process,
    ):
        await abandon(process)
        assert await process.until_settled(10) == {"r1": "cancelled"}
        assert backend.kept() == ()
        assert (calls(backend, "DELETE"), calls(backend, "GET")) == ([204], [404] * 3)


async def test_a_backend_that_does_not_let_go_is_unresolved(tmp_path: Path) -> None:
    quick = {**VERIFY, "verify_after_s": [0.05]}
    async with stage(tmp_path, admin=quick) as running:
        chat = await running.answering()
        chat.client.close()
        await chat.peer.gone(AT_ONCE_S)
        turn = await running.turn_in("unresolved")
        assert turn["cause"] == "closed"
        assert await running.process.terminate() == 0
        assert running.admin.lines[0] == CANCEL
        assert running.admin.lines[1:] == [ROLLBACK, LOOK] * (len(running.admin.lines) // 2)
        assert running.admin.lines.count(ROLLBACK) == 6, "it is rolled back five times more, and no oftener"
        assert "Traceback" not in running.process.log_text()


async def test_killed_between_the_looks_it_goes_on_looking(tmp_path: Path) -> None:
    late = BackendKnobs(words=12, word_s=0.05, saves_late=True)
    async with LegacyBackend.serve(late, path=tmp_path / "backend.db") as backend, before(backend, tmp_path) as process:
        await abandon(process)
        await backend.until(lambda: 404 in calls(backend, "GET"))
        await process.kill()
        await backend.until(lambda: backend.quiet)
        assert len(backend.kept()) == 1, "it came back while nobody looked"
        await process.start()
        assert await process.until_settled(15) == {"r1": "cancelled"}
        assert backend.kept() == ()
