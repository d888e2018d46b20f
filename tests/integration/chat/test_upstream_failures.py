"""What becomes of a turn whose upstream refuses it, fails, or cannot be reached."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from sidecar.errors import JournalUnavailableError
from tests.fakes.scene import scene
from tests.fakes.waiting import AT_ONCE_S, eventually
from tests.integration.chat.talk import CHUNKED, END, PLAIN, begin, begin_answer, chunk, head

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sidecar.engine.ports import Change
    from tests.fakes.scene import Scene
    from tests.fakes.sockets import RawSocket

CANCEL = "POST /admin/requests/r1/cancel"
ROLLBACK = "DELETE /admin/conversations/c1"


def fin(peer: RawSocket) -> None:
    peer.close()


def reset(peer: RawSocket) -> None:
    peer.reset()


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Who", "429 Slow down", "500 Oops", "503 Later"])
async def test_an_error_status_takes_up_nothing(running: Scene, status: str) -> None:
    talk = await begin(running)
    await talk.peer.send(head("Content-Type: application/json", "Content-Length: 2", status=status), b"{}")
    answer = await talk.client.answer()
    assert (answer.status, answer.body, answer.get("X-Request-Id")) == (int(status[:3]), b"{}", b"r1")
    await talk.settle("refused")
    assert running.admin.calls == []


async def test_a_client_that_leaves_amid_a_refusal_owes_nothing(running: Scene) -> None:
    talk = await begin(running)
    await talk.peer.send(head(PLAIN, CHUNKED, "X-Conversation-Id: c1", status="500 Oops"), chunk(b"sorry"))
    await talk.client.head()
    await talk.client.chunk()
    talk.client.close()
    await talk.peer.gone(AT_ONCE_S)
    await talk.settle("refused")
    assert running.admin.calls == []


async def test_a_refused_connection_is_a_502_and_owes_nothing(running: Scene) -> None:
    running.upstream.refuse()
    client = await running.client()
    for number in range(2):
        await client.chat(f"X-Request-Id: r{number}")
        answer = await client.answer()
        assert (answer.status, answer.get("X-Request-Id")) == (502, b"r%d" % number)
        assert json.loads(answer.body)["error"] == "upstream_unreachable"
    line = await running.exchange_line()
    assert (line["status"], line["aborted_by"]) == (502, None)
    await eventually(lambda: [turn["state"] for turn in running.turns()] == ["cancelled", "cancelled"])
    assert running.admin.calls == []


async def test_silence_before_the_head_is_a_504_and_a_cancel(tmp_path: Path) -> None:
    async with scene(tmp_path, upstream={"response_timeout_s": 0.05}) as running:
        talk = await begin(running, names="c1")
        assert (await talk.client.answer()).status == 504
        turn = await talk.settle("cancelled")
        assert turn["cause"] == "upstream_failed"
        assert running.admin.lines == [CANCEL]
        await talk.peer.gone()


@pytest.mark.parametrize("leave", [fin, reset])
async def test_an_upstream_that_closes_before_answering(running: Scene, leave: Callable[[RawSocket], None]) -> None:
    talk = await begin(running, names="c1")
    leave(talk.peer)
    answer = await talk.client.answer()
    assert (answer.status, answer.get("X-Request-Id")) == (502, b"r1")
    await talk.settle("cancelled")
    assert running.admin.lines == [CANCEL]


@pytest.mark.parametrize("leave", [fin, reset])
async def test_an_upstream_that_dies_mid_answer(running: Scene, leave: Callable[[RawSocket], None]) -> None:
    talk = await begin_answer(running)
    leave(talk.peer)
    assert await talk.client.gone() == b""
    turn = await talk.settle("cancelled")
    assert turn["cause"] == "upstream_failed"
    line = await running.exchange_line()
    assert (line["status"], line["cause"], line["aborted_by"]) == (200, "upstream_failed", None)
    assert running.admin.lines == [CANCEL, ROLLBACK]


async def test_an_answer_until_close_that_breaks_off_is_reset(running: Scene) -> None:
    talk = await begin(running)
    await talk.peer.send(head(PLAIN, "X-Conversation-Id: c1"), b"hello")
    await talk.client.head()
    assert await talk.client.exactly(5) == b"hello"
    talk.peer.reset()
    with pytest.raises(ConnectionResetError):
        await talk.client.rest()
    await talk.settle("cancelled")


async def test_silence_mid_answer(tmp_path: Path) -> None:
    async with scene(tmp_path, upstream={"idle_timeout_s": 0.05}) as running:
        talk = await begin_answer(running)
        assert END not in await talk.client.gone()
        await talk.settle("cancelled")
        assert running.admin.lines == [CANCEL, ROLLBACK]


def refuse(_: Change) -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(JournalUnavailableError("the disk is full"))
    return future


async def test_a_journal_that_takes_nothing_is_a_503(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await running.client()
    monkeypatch.setattr(running.sidecar.driver._journal, "submit", refuse)
    await client.chat("X-Request-Id: r1")
    answer = await client.answer()
    assert answer.status == 503
    assert json.loads(answer.body)["error"] == "journal_unavailable"
    await running.upstream_is_left_alone()


async def test_the_next_turn_comes_on_the_same_connection(running: Scene) -> None:
    talk = await begin(running, names="c1")
    talk.peer.close()
    assert (await talk.client.answer()).status == 502
    await talk.client.chat("X-Request-Id: r2")
    peer, _ = await running.upstream.request()
    await peer.send(head(PLAIN, "Content-Length: 2"), b"hi")
    assert (await talk.client.answer()).body == b"hi"
