"""The journal's disk is full: no new turn goes upstream, all else goes on; with room again, all that is owed is done.

Against a running `sidecar run`, whose log must not fill with tracebacks either.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.stage import CANCEL, END, ROLLBACK, head, stage
from tests.fakes.downstream import ALICE, request_bytes
from tests.fakes.downstream import CANCEL as CANCEL_PATH
from tests.fakes.full_disk import FileLimit, TinyDisk
from tests.fakes.waiting import AT_ONCE_S, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.acceptance.stage import Stage
    from tests.fakes.full_disk import Disk

ROOM_AGAIN_S = 15.0
"""What could not be written is offered again after half a second; the dispatcher looks once a second."""


@contextmanager
def file_limit(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    yield FileLimit(folder)


DISKS = pytest.mark.parametrize("disk_in", [TinyDisk.mounted, file_limit], ids=["no space", "file too large"])


async def refused(running: Stage, request_id: str) -> None:
    """Make sure that a new chat is turned away, and that the upstream never hears of it."""
    client = await running.client()
    await client.chat(f"X-Request-Id: {request_id}")
    assert (await client.answer()).status == 503
    assert running.upstream.nobody_came()


async def relayed(running: Stage) -> None:
    """Make sure that what is no turn is relayed as ever."""
    client = await running.client()
    await client.get("/api/ai-coach/conversations")
    peer, _ = await running.upstream.request()
    await peer.send(head("Content-Length: 2") + b"[]")
    assert (await client.answer()).body == b"[]"


async def cancelling(running: Stage, request_id: str) -> int:
    """Ask for a cancel; give the status of the answer."""
    client = await running.client()
    body = b'{"requestId": "%s"}' % request_id.encode()
    await client.send(request_bytes("POST", CANCEL_PATH, f"Authorization: {ALICE}", body=body))
    return (await client.answer()).status


@DISKS
async def test_a_full_disk(tmp_path: Path, disk_in: Callable[[Path], AbstractContextManager[Disk]]) -> None:
    with disk_in(tmp_path / "disk") as disk:
        async with stage(tmp_path, journal_path=disk.folder / "sidecar.db") as running:
            stays = await running.answering()
            leaves = await running.answering(request_id="r2", conversation_id="c2")
            lasts = await running.answering(request_id="r3", conversation_id="c3")
            disk.fill(running.process.pid)
            await refused(running, "r4")
            await relayed(running)
            assert await cancelling(running, "r5") == 503, "a cancel that came first could not be remembered"
            await stays.say(b"a time ")
            leaves.client.close()
            await leaves.peer.gone(AT_ONCE_S)
            await stays.peer.send(END)
            await running.exchange_line("r2")
            assert stays.client.nothing_came(), "the end is not shown before it is durable"
            await eventually(lambda: running.admin.lines)
            assert running.admin.lines == [CANCEL.replace("r1", "r2")], "nothing else is called before it is durable"
            await refused(running, "r6")

            disk.free(running.process.pid)
            assert (await stays.client.chunk())[0] == END
            await running.turn_in("completed", timeout_s=ROOM_AGAIN_S)
            await running.turn_in("cancelled", request_id="r2", timeout_s=ROOM_AGAIN_S)
            await lasts.say(b"a time ")
            await lasts.end()
            await running.turn_in("completed", request_id="r3")
            again = await running.answering(request_id="r7", conversation_id="c7")
            await again.end()
            await running.turn_in("completed", request_id="r7")

            await running.process.terminate()
            assert [turn["request_id"] for turn in running.turns()] == ["r1", "r2", "r3", "r7"]
            assert running.admin.lines == [line.replace("r1", "r2").replace("c1", "c2") for line in (CANCEL, ROLLBACK)]
            assert not [line for line in running.process.log_lines() if "exception" in line]
            assert "Traceback" not in running.process.log_text()


@pytest.mark.long
async def test_stopped_with_the_disk_full_it_makes_good_at_the_next_start(tmp_path: Path) -> None:
    with file_limit(tmp_path / "disk") as disk:
        async with stage(tmp_path, journal_path=disk.folder / "sidecar.db") as running:
            chat = await running.answering()
            await eventually(lambda: running.turns()[0]["conversation_id"] == "c1")
            disk.fill(running.process.pid)
            chat.client.close()
            await chat.peer.gone(AT_ONCE_S)
            assert await running.process.terminate() == 0
            assert "Traceback" not in running.process.log_text()
            assert running.admin.lines == [CANCEL]

            disk.free()
            await running.process.start()
            await running.turn_in("cancelled")
            assert running.admin.lines == [CANCEL, CANCEL, ROLLBACK]
            await running.process.terminate()
