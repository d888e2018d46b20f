"""An id learned late still counts (law 4): an abandoned answer is read on, unseen, until it shows; within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.scene import scene
from tests.fakes.waiting import AT_ONCE_S, eventually, loop_turns
from tests.integration.chat.talk import CHUNKED, END, PLAIN, Talk, begin, chunk, head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.scene import Scene

CANCEL = "POST /admin/requests/r1/cancel"
ROLLBACK = "DELETE /admin/conversations/c1"
NDJSON = "Content-Type: application/x-ndjson"
SSE = "Content-Type: text/event-stream"
TOLD = b'{"temp_conversation_id": "c1"}'


async def abandon(talk: Talk) -> None:
    """Have the client leave, and the sidecar notice."""
    talk.client.fin()
    assert (await talk.running.exchange_line())["status"] == 499
    await eventually(lambda: talk.running.admin.lines == [CANCEL])
    assert talk.peer.nothing_came(), "the upstream's connection stays open"


async def rolled_back(talk: Talk) -> None:
    """Make sure that the id was heard, and that nothing more is waited for."""
    await talk.peer.gone(AT_ONCE_S)
    await talk.settle("cancelled")
    assert talk.running.admin.lines == [CANCEL, ROLLBACK]
    assert await talk.client.gone() == b""


async def test_it_is_cancelled_at_once_and_rolled_back_when_the_head_tells_the_id(running: Scene) -> None:
    talk = await begin(running)
    await abandon(talk)
    await talk.peer.send(head(PLAIN, CHUNKED))
    await loop_turns()
    assert talk.peer.nothing_came()
    await talk.settle("cancelling")
    await talk.peer.send(chunk(b'so\n{"final_conversation_id": "c1"}\n'))
    await rolled_back(talk)


async def test_the_head_tells_the_id(running: Scene) -> None:
    talk = await begin(running)
    await abandon(talk)
    await talk.peer.send(head(PLAIN, CHUNKED, "X-Conversation-Id: c1"))
    await rolled_back(talk)


@pytest.mark.parametrize(
    ("lines", "stream"),
    [
        ([NDJSON], TOLD + b"\n"),
        ([SSE], b"data: " + TOLD + b"\n\n"),
        ([PLAIN], b"Well, " + TOLD + b"\n"),
        ([NDJSON], b'{"a": 1}\n' + TOLD + b"\n"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_the_stream_tells_the_id_in_pieces(running: Scene, lines: list[str], stream: bytes, size: int) -> None:
    talk = await begin(running)
    await abandon(talk)
    await talk.peer.send(head(CHUNKED, *lines))
    for at in range(0, len(stream), size):
        await talk.peer.send(chunk(stream[at : at + size]))
    await rolled_back(talk)


async def test_an_explicit_cancel_waits_for_the_id_too(running: Scene) -> None:
    talk = await begin(running)
    await talk.answer(PLAIN)
    other = await running.client()
    await other.cancel({"requestId": "r1"})
    assert (await other.answer()).body == b'{"status": "cancelled"}'
    assert await talk.client.gone() == b""
    assert talk.peer.nothing_came()
    await talk.peer.send(chunk(TOLD + b"\n"))
    await rolled_back(talk)


async def test_back_pressure_ends_with_the_client(tmp_path: Path) -> None:
    async with scene(tmp_path, upstream={"drain": {"bytes_max": 100_000_000}}) as running:
        talk = await begin(running, small_buffer=True)
        await talk.peer.send(head(PLAIN, CHUNKED))
        rest, stuck = b"", 0
        while stuck < 50:
            rest = rest or chunk(b"x" * 65_000)
            count = talk.peer.send_now(rest)
            rest, stuck = rest[count:], 0 if count else stuck + 1
            await loop_turns()
        talk.client.reset()
        await running.exchange_line()
        await talk.peer.send(rest, chunk(b"\n" + TOLD + b"\n"))
        await talk.peer.gone(AT_ONCE_S)
        await talk.settle("cancelled")
        assert running.admin.lines == [CANCEL, ROLLBACK]


async def test_an_answer_that_ends_without_telling(running: Scene) -> None:
    talk = await begin(running)
    await abandon(talk)
    await talk.peer.send(head(PLAIN, CHUNKED), chunk(b"hi"), END)
    await talk.settle("unresolved")
    assert running.admin.lines == [CANCEL]


async def test_an_upstream_that_breaks_off_without_telling(running: Scene) -> None:
    talk = await begin(running)
    await abandon(talk)
    talk.peer.reset()
    await talk.settle("unresolved")


async def test_an_upstream_that_refuses_has_begun_nothing(running: Scene) -> None:
    talk = await begin(running)
    await abandon(talk)
    await talk.peer.send(head(PLAIN, "Content-Length: 0", status="429 Slow down"))
    await talk.settle("cancelled")
    assert running.admin.lines == [CANCEL]


async def test_it_is_bounded_in_bytes(tmp_path: Path) -> None:
    async with scene(tmp_path, upstream={"drain": {"bytes_max": 2000}}) as running:
        talk = await begin(running)
        await talk.answer(PLAIN)
        await abandon(talk)
        await talk.peer.send(chunk(b"x" * 1990))
        await loop_turns()
        assert talk.peer.nothing_came()
        await talk.peer.send(chunk(b"y" * 10))
        await talk.peer.gone(AT_ONCE_S)
        await talk.settle("unresolved")
        assert running.admin.lines == [CANCEL]


async def test_it_is_bounded_in_time(tmp_path: Path) -> None:
    async with scene(tmp_path, upstream={"drain": {"timeout_s": 0.05}}) as running:
        talk = await begin(running)
        await abandon(talk)
        await talk.peer.gone()
        await talk.settle("unresolved")


async def test_it_is_bounded_in_number(tmp_path: Path) -> None:
    async with scene(tmp_path, upstream={"drain": {"streams_max": 1}}) as running:
        first = await begin(running)
        await abandon(first)
        second = await begin(running, request_id="r2")
        second.client.fin()
        await second.peer.gone(AT_ONCE_S)
        assert first.peer.nothing_came()
        await first.peer.send(head(PLAIN, CHUNKED, "X-Conversation-Id: c1"))
        await eventually(lambda: [turn["state"] for turn in running.turns()] == ["cancelled", "unresolved"])


async def test_the_answer_to_the_cancel_call_may_tell_the_id(tmp_path: Path) -> None:
    capture = {"conversation_id": ["cancel.json:/conversationId"]}
    async with scene(tmp_path, chat={"capture": capture}) as running:
        running.admin.bodies[CANCEL] = {"conversationId": "c1"}
        talk = await begin(running)
        talk.client.fin()
        await talk.settle("cancelled")
        assert running.admin.lines == [CANCEL, ROLLBACK]
        await talk.peer.gone(AT_ONCE_S)


@pytest.mark.parametrize("content_type", [NDJSON, SSE, PLAIN])
async def test_an_id_in_the_stream_is_known_before_the_client_leaves(running: Scene, content_type: str) -> None:
    talk = await begin(running)
    await talk.answer(content_type)
    line = b"data: " + TOLD + b"\n\n" if content_type == SSE else TOLD + b"\n"
    await talk.say(line[:9], line[9:])
    await eventually(lambda: running.turns()[0]["conversation_id"] == "c1")
    talk.client.fin()
    await talk.peer.gone(AT_ONCE_S)
    await talk.settle("cancelled")
    assert running.admin.lines == [CANCEL, ROLLBACK]


async def test_the_final_id_takes_the_temporary_ones_place(tmp_path: Path) -> None:
    confirm = {"confirm": {"method": "POST", "path": "/admin/confirm/{conversation_id}"}}
    async with scene(tmp_path, admin=confirm) as running:
        talk = await begin(running)
        await talk.answer(NDJSON)
        await talk.say(b'{"temp_conversation_id": "temp_1"}\n', b'{"delta": "hi"}\n')
        await talk.say(b'{"final_conversation_id": "c1"}\n')
        await talk.peer.send(END)
        await talk.client.chunk()
        turn = await talk.settle("completed")
        assert (turn["conversation_id"], turn["temp_id"]) == ("c1", "temp_1")
        assert running.admin.lines == ["POST /admin/confirm/c1"]
