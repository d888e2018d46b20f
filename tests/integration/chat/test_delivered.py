"""Complete means delivered: a client that has the whole answer has a completed turn, and nobody else has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.downstream import delivery
from tests.fakes.downstream import request_bytes
from tests.fakes.scene import scene
from tests.fakes.waiting import AT_ONCE_S, eventually
from tests.integration.chat.talk import CHUNKED, END, PLAIN, begin, begin_answer, chunk, head

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.downstream import Downstream
    from tests.fakes.scene import Scene

CANCEL = "POST /admin/requests/r1/cancel"
ROLLBACK = "DELETE /admin/conversations/c1"
CONFIRM = {"confirm": {"method": "POST", "path": "/admin/conversations/{conversation_id}/confirm"}}
DONE = b"data: [DONE]\n\n"


def fin(client: Downstream) -> None:
    client.fin()


def close(client: Downstream) -> None:
    client.close()


def stay(client: Downstream) -> None:
    assert client.nothing_came()


AFTERWARDS = pytest.mark.parametrize("do", [fin, close, stay])


@AFTERWARDS
async def test_a_chunked_answer_that_is_read_to_its_end(running: Scene, do: Callable[[Downstream], None]) -> None:
    talk = await begin_answer(running)
    await talk.peer.send(END)
    assert await talk.client.chunk() == (END, b"")
    do(talk.client)
    turn = await talk.settle("completed")
    assert (turn["cause"], turn["confirmed_at"] is None, turn["conversation_id"]) == (None, False, "c1")
    assert running.admin.calls == []
    line = await running.exchange_line()
    assert (line["status"], line["cause"]) == (200, None)


@AFTERWARDS
@pytest.mark.parametrize("pieces", [[b"hello"], [b"he", b"llo"]])
async def test_an_answer_of_known_length(running: Scene, pieces: list[bytes], do: Callable[[Downstream], None]) -> None:
    talk = await begin(running)
    await talk.peer.send(head(PLAIN, "Content-Length: 5"), *pieces)
    assert (await talk.client.answer()).body == b"hello"
    do(talk.client)
    await talk.settle("completed")
    assert running.admin.calls == []


async def test_an_answer_that_ends_by_close(running: Scene) -> None:
    talk = await begin(running)
    await talk.peer.send(head(PLAIN), b"hello")
    talk.peer.close()
    assert (await talk.client.answer()).body == b"hello"
    talk.client.close()
    await talk.settle("completed")
    assert running.admin.calls == []


async def test_an_empty_answer(running: Scene) -> None:
    talk = await begin(running)
    await talk.peer.send(head(status="204 No Content"))
    assert (await talk.client.answer()).status == 204
    await talk.settle("completed")


async def test_a_client_that_asked_for_close(running: Scene) -> None:
    talk = await begin(running, "Connection: close")
    await talk.peer.send(head(PLAIN, "Content-Length: 2"), b"hi")
    assert (await talk.client.answer()).body == b"hi"
    assert await talk.client.rest() == b""
    await talk.settle("completed")


async def test_a_client_of_http_1_0(running: Scene) -> None:
    client = await running.client()
    question = request_bytes("POST", "/api/ai-coach/chat", "X-Request-Id: r1", body=b"{}")
    await client.send(question.replace(b"HTTP/1.1", b"HTTP/1.0"))
    peer, _ = await running.upstream.request()
    await peer.send(head(PLAIN, CHUNKED), chunk(b"one "), chunk(b"two"), END)
    assert (await client.answer()).body == b"one two"
    await running.turn_in("completed")


async def test_the_connection_serves_turn_after_turn(running: Scene) -> None:
    client = await running.client()
    for number in range(3):
        await client.chat(f"X-Request-Id: r{number}")
        peer, _ = await running.upstream.request()
        await peer.send(head(PLAIN, CHUNKED), chunk(b"hi"), END)
        assert (await client.answer()).body == b"hi"
    await eventually(lambda: [turn["state"] for turn in running.turns()] == ["completed"] * 3)
    assert running.admin.calls == []


async def test_the_last_chunk_without_the_end_is_not_complete(running: Scene) -> None:
    talk = await begin_answer(running)
    talk.client.close()
    await talk.settle("cancelled")
    assert running.admin.lines == [CANCEL, ROLLBACK]


async def test_a_client_that_never_read_the_end_is_cancelled(running: Scene) -> None:
    talk = await begin(running, small_buffer=True)
    body = b"x" * 50_000  # more than its kernel takes, less than would hold the upstream back
    await talk.peer.send(head(PLAIN, "X-Conversation-Id: c1", f"Content-Length: {len(body)}"), body)
    await eventually(lambda: running.turns()[0]["state"] == "answered")
    talk.client.close()
    assert (await talk.settle("cancelled"))["cause"] == "reset"
    assert running.admin.lines == [ROLLBACK]  # there is nothing left to stop


async def test_who_leaves_is_asked_at_that_moment(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "TICK_S", 3600.0)
    talk = await begin_answer(running)
    await talk.peer.send(END)
    await talk.client.chunk()
    await eventually(lambda: running.turns()[0]["state"] == "answered")
    talk.client.fin()
    await talk.settle("completed")


async def test_an_end_that_the_kernel_took_but_the_client_never_read(
    running: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TICK_S", 3600.0)
    talk = await begin_answer(running)
    await talk.peer.send(END)
    await eventually(lambda: not talk.client.nothing_came())
    talk.client.close()
    assert (await talk.settle("cancelled"))["cause"] == "reset"
    assert running.admin.lines == [ROLLBACK]


async def test_the_next_request_proves_the_delivery(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "TICK_S", 3600.0)
    talk = await begin_answer(running)
    await talk.peer.send(END)
    await talk.client.chunk()
    await talk.client.get("/next")
    assert (await talk.peer.request()).target == b"/next"
    await talk.settle("completed")


async def test_what_follows_an_answer_that_ends_the_connection_is_no_request(
    running: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The close waits for the acknowledgement: what comes meanwhile is the rest of a body, or too late."""
    monkeypatch.setattr(delivery, "TICK_S", 3600.0)
    talk = await begin(running, "Connection: close")
    await talk.peer.send(head(PLAIN, "Content-Length: 2"), b"hi")
    assert (await talk.client.answer()).body == b"hi"
    await talk.client.send(request_bytes("DELETE", "/everything"))
    await running.upstream_is_left_alone()
    assert talk.peer.nothing_came()
    talk.client.close()
    await talk.settle("completed")


async def test_a_terminal_frame_ends_the_answer_before_its_body_ends(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"terminal": ["data: [DONE]"]}) as running:
        talk = await begin(running)
        await talk.answer("Content-Type: text/event-stream", "X-Conversation-Id: c1")
        await talk.say(b'data: {"delta": "hi"}\n\n', DONE)
        talk.client.close()
        await talk.peer.gone(AT_ONCE_S)
        await talk.settle("completed")
        assert running.admin.calls == []
        line = await running.exchange_line()
        assert (line["status"], line["cause"], line["state"]) == (200, None, "completed")


@pytest.mark.parametrize("cut", [1, 7, 12, 13])
async def test_a_terminal_frame_in_two_pieces(tmp_path: Path, cut: int) -> None:
    async with scene(tmp_path, chat={"terminal": ["data: [DONE]"]}) as running:
        talk = await begin(running)
        await talk.answer("Content-Type: text/event-stream")
        await talk.say(b"data: hi\n\n" + DONE[:cut], DONE[cut:])
        talk.client.fin()
        await talk.settle("completed")


async def test_without_the_terminal_frame_it_is_a_cancel(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"terminal": ["data: [DONE]"]}) as running:
        talk = await begin(running)
        await talk.answer("Content-Type: text/event-stream", "X-Conversation-Id: c1")
        await talk.say(b"data: [DON\n\n", b"data: [DONE]!\n\n")
        talk.client.close()
        await talk.settle("cancelled")
        assert running.admin.lines == [CANCEL, ROLLBACK]


async def test_an_upstream_that_breaks_off_behind_the_terminal_frame(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"terminal": ["data: [DONE]"]}) as running:
        talk = await begin(running)
        await talk.answer("Content-Type: text/event-stream", "X-Conversation-Id: c1")
        await talk.say(DONE)
        talk.peer.reset()
        assert await talk.client.gone() == b""
        await talk.settle("completed")
        assert running.admin.calls == []


async def test_a_delivered_new_conversation_is_confirmed_once(tmp_path: Path) -> None:
    async with scene(tmp_path, admin=CONFIRM) as running:
        talk = await begin_answer(running)
        await talk.peer.send(END)
        await talk.client.chunk()
        await talk.settle("completed")
        assert running.admin.lines == ["POST /admin/conversations/c1/confirm"]


async def test_an_existing_conversation_needs_no_confirming(tmp_path: Path) -> None:
    async with scene(tmp_path, admin=CONFIRM) as running:
        talk = await begin_answer(running, names="c1")
        await talk.peer.send(END)
        await talk.client.chunk()
        await talk.settle("completed")
        assert running.admin.calls == []


async def test_an_answer_to_an_abandoned_turn_confirms_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path, admin=CONFIRM) as running:
        talk = await begin_answer(running)
        talk.client.fin()
        talk.peer.send_now(END)
        await talk.settle("cancelled")
        assert "POST /admin/conversations/c1/confirm" not in running.admin.lines
