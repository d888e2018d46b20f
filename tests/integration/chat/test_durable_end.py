"""The end is not shown before it is durable (law 5), and nothing else waits for the journal (law 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.downstream.chat import ChatExchange
from tests.fakes.scene import scene
from tests.fakes.waiting import eventually, loop_turns
from tests.integration.chat.talk import END, PLAIN, begin, begin_answer, chunk, head

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from sidecar.downstream.body import Piece
    from tests.fakes.scene import Scene

DONE = b"data: [DONE]\n\n"


async def test_the_end_of_chunks_waits(running: Scene) -> None:
    talk = await begin_answer(running)
    async with running.journal_locked():
        await talk.say(b"there ", b"was")
        await talk.peer.send(END)
        await loop_turns(200)
        assert talk.client.nothing_came()
        assert running.turns()[0]["state"] == "open"
    assert await talk.client.chunk() == (END, b"")
    await talk.settle("completed")


async def test_the_last_bytes_of_a_known_length_wait(running: Scene) -> None:
    talk = await begin(running)
    async with running.journal_locked():
        await talk.peer.send(head(PLAIN, "Content-Length: 5"), b"hel")
        await talk.client.head()
        assert await talk.client.exactly(3) == b"hel"
        await talk.peer.send(b"lo")
        await loop_turns(200)
        assert talk.client.nothing_came()
    assert await talk.client.exactly(2) == b"lo"
    await talk.settle("completed")


async def test_the_close_that_ends_an_answer_waits(running: Scene) -> None:
    talk = await begin(running)
    async with running.journal_locked():
        await talk.peer.send(head(PLAIN), b"hello")
        await talk.client.head()
        assert await talk.client.exactly(5) == b"hello"
        talk.peer.close()
        await loop_turns(200)
        assert talk.client.nothing_came()
    assert await talk.client.rest() == b""
    await talk.settle("completed")


async def test_a_terminal_frame_waits_and_all_that_follows_it(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"terminal": ["data: [DONE]"]}) as running:
        talk = await begin(running)
        await talk.answer("Content-Type: text/event-stream")
        async with running.journal_locked():
            await talk.peer.send(chunk(b"data: hi\n\n" + DONE))
            assert await talk.client.until(b"\n\n") == b"18\r\ndata: hi\n\n"
            await talk.peer.send(chunk(b": bye\n\n"), END)
            await loop_turns(200)
            assert talk.client.nothing_came()
        assert await talk.client.until(END) == DONE + b"\r\n" + chunk(b": bye\n\n") + END
        await talk.settle("completed")


async def test_while_the_end_waits_no_more_is_read_though_the_client_catches_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding: list[ChatExchange] = []
    hold = ChatExchange._hold

    def note(exchange: ChatExchange, piece: Piece, terminal_at: int | None, *, last: bool) -> None:
        hold(exchange, piece, terminal_at, last=last)
        holding.append(exchange)

    monkeypatch.setattr(ChatExchange, "_hold", note)
    async with scene(tmp_path, chat={"terminal": ["data: [DONE]"]}) as running:
        talk = await begin(running)
        await talk.answer("Content-Type: text/event-stream")
        async with running.journal_locked():
            await talk.peer.send(chunk(DONE))
            [exchange] = await eventually(lambda: holding)
            assert await talk.client.until(b"\r\n") == b"e\r\n"
            exchange.downstream_drained()  # as the connection says of a client that was behind until now
            await talk.peer.send(chunk(b": bye\n\n"), END)
            await loop_turns(200)
            assert exchange._held is not None
            assert len(exchange._held.pieces) == 1
            assert talk.client.nothing_came()
        assert await talk.client.until(END) == DONE + b"\r\n" + chunk(b": bye\n\n") + END
        await talk.settle("completed")


async def test_a_client_that_leaves_while_the_end_waits_is_cancelled(running: Scene) -> None:
    talk = await begin_answer(running)
    async with running.journal_locked():
        await talk.peer.send(END)
        await loop_turns(200)
        talk.client.fin()
        assert await talk.client.gone() == b""
    turn = await talk.settle("cancelled")
    assert turn["cause"] == "closed"
    assert running.admin.lines == ["DELETE /admin/conversations/c1"]


async def test_a_cancel_while_the_end_waits_keeps_it_back(running: Scene) -> None:
    talk = await begin_answer(running)
    other = await running.client()
    async with running.journal_locked():
        await talk.peer.send(END)
        await loop_turns(200)
        await other.cancel({"requestId": "r1"})
        assert await talk.client.gone() == b""
    assert (await other.answer()).body == b'{"status": "cancelled"}'
    await talk.settle("cancelled")


async def test_what_is_shown_complete_is_durable_by_then(running: Scene) -> None:
    talk = await begin_answer(running)
    assert running.turns()[0]["state"] == "open"
    await talk.peer.send(END)
    await talk.client.chunk()
    assert running.turns()[0]["answered_at"] is not None


async def test_the_relay_does_not_wait_for_the_journal(running: Scene) -> None:
    client = await running.client()
    async with running.journal_locked():
        await client.get("/other")
        peer, _ = await running.upstream.request()
        await peer.send(head("Content-Length: 2"), b"hi")
        assert (await client.answer()).body == b"hi"


async def test_ids_learned_meanwhile_do_not_hold_the_stream_up(running: Scene) -> None:
    talk = await begin(running)
    async with running.journal_locked():
        await talk.answer(PLAIN, "X-Conversation-Id: c1")
        await talk.say(b"one", b"two")
    await eventually(lambda: running.turns()[0]["conversation_id"] == "c1")


async def test_an_end_that_waits_is_shown_although_the_upstream_breaks_behind_it(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"terminal": ["data: [DONE]"]}) as running:
        talk = await begin(running)
        await talk.answer("Content-Type: text/event-stream")
        async with running.journal_locked():
            await talk.peer.send(chunk(b"data: hi\n\n" + DONE))
            await talk.client.until(b"\n\n")
            talk.peer.reset()
            await loop_turns(200)
            assert talk.client.nothing_came()
        assert await talk.client.until(DONE) == DONE
        assert await talk.client.gone() == b"\r\n", "what follows the frame is missing, visibly"
        await talk.settle("completed")
        assert running.admin.lines == []
