"""The sidecar announces the conversation's ids in the stream, for backends that do not (M7)."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.downstream import CHAT, request_bytes
from tests.fakes.scene import scene
from tests.fakes.waiting import AT_ONCE_S, eventually
from tests.integration.chat.talk import CHUNKED, END, PLAIN, Talk, begin, chunk, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.scene import Scene

NDJSON = "Content-Type: application/x-ndjson"
SSE = "Content-Type: text/event-stream; charset=utf-8"
ID = "X-Conversation-Id: c1"


@pytest.fixture
async def announcing(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, chat={"announce": True, "terminal": ["data: [DONE]"]}) as running:
        yield running


def first(talk: Talk) -> bytes:
    """Give the frame that has to come first, without its line end."""
    return json.dumps({"temp_conversation_id": talk.running.turns()[0]["temp_id"]}).encode()


LAST = b'{"final_conversation_id": "c1"}'


@pytest.mark.parametrize("content_type", [PLAIN, NDJSON, "Content-Type: application/jsonl"])
@pytest.mark.parametrize(("text", "gap"), [(b"hello", b"\n"), (b"hello\n", b""), (b"", b"")])
async def test_lines(announcing: Scene, content_type: str, text: bytes, gap: bytes) -> None:
    talk = await begin(announcing)
    await talk.peer.send(head(content_type, CHUNKED, ID), *([chunk(text)] if text else []), END)
    answer = await talk.client.answer()
    assert answer.body == first(talk) + b"\n" + text + gap + LAST + b"\n"
    assert answer.get("Content-Type") == content_type.partition(": ")[2].encode()
    assert talk.running.turns()[0]["temp_id"].startswith("temp_")
    await talk.settle("completed")


@pytest.mark.parametrize(
    ("text", "gap"), [(b"data: hi\n\n", b""), (b"data: hi\n", b"\n"), (b": hi", b"\n\n"), (b"", b"")]
)
async def test_events(announcing: Scene, text: bytes, gap: bytes) -> None:
    talk = await begin(announcing)
    await talk.peer.send(head(SSE, CHUNKED, ID), *([chunk(text)] if text else []), END)
    expected = b"data: " + first(talk) + b"\n\n" + text + gap + b"data: " + LAST + b"\n\n"
    assert (await talk.client.answer()).body == expected


async def test_the_final_id_stands_before_the_terminal_frame(announcing: Scene) -> None:
    talk = await begin(announcing)
    await talk.peer.send(head(SSE, CHUNKED, ID), chunk(b"data: hi\n\ndata: [DONE]\n\n"), END)
    body = (await talk.client.answer()).body
    events = [b"data: " + first(talk), b"data: hi", b"data: " + LAST, b"data: [DONE]", b""]
    assert body == b"\n\n".join(events)


async def test_the_first_frame_does_not_wait_for_the_first_word(announcing: Scene) -> None:
    talk = await begin(announcing)
    await talk.answer(PLAIN)
    assert (await talk.client.chunk())[1] == first(talk) + b"\n"
    await talk.say(b"one", b"two")


async def test_a_length_gives_way_to_chunks(announcing: Scene) -> None:
    talk = await begin(announcing)
    await talk.peer.send(head(PLAIN, "Content-Length: 5", ID), b"hello")
    answer = await talk.client.answer()
    assert (answer.get("Content-Length"), answer.values("Transfer-Encoding")) == (None, [b"chunked"])
    assert answer.body == first(talk) + b"\nhello\n" + LAST + b"\n"
    await talk.client.get("/next")
    await talk.peer.request()


async def test_an_end_by_close_gives_way_to_chunks(announcing: Scene) -> None:
    talk = await begin(announcing)
    await talk.peer.send(head(PLAIN, ID), b"hello")
    talk.peer.close()
    answer = await talk.client.answer()
    assert answer.values("Transfer-Encoding") == [b"chunked"]
    assert answer.body == first(talk) + b"\nhello\n" + LAST + b"\n"


async def test_chunks_are_cut_anew_without_extensions_and_trailers(announcing: Scene) -> None:
    talk = await begin(announcing)
    await talk.peer.send(
        head(PLAIN, CHUNKED, ID, "Trailer: X-Sum"), b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    answer = await talk.client.answer()
    assert answer.raw.endswith(END)
    assert (answer.get("Trailer"), b"X-Sum" in answer.raw) == (None, False)
    assert answer.body == first(talk) + b"\nhello\n" + LAST + b"\n"


@pytest.mark.parametrize("lines", [[CHUNKED], ["Content-Length: 5"], []])
async def test_a_client_of_http_1_0(announcing: Scene, lines: list[str]) -> None:
    client = await announcing.client()
    question = request_bytes("POST", CHAT, "X-Request-Id: r1", "Connection: keep-alive", body=b"{}")
    await client.send(question.replace(b"HTTP/1.1", b"HTTP/1.0"))
    peer, request = await announcing.upstream.request()
    framed = chunk(b"hello") + END if lines == [CHUNKED] else b"hello"
    await peer.send(head(PLAIN, ID, *lines), framed)
    peer.close()
    answer = await client.answer()
    assert (answer.get("Transfer-Encoding"), answer.get("Content-Length")) == (None, None)
    assert answer.get("Connection") == b"close"
    talk = Talk(announcing, client, peer, request)
    assert answer.body == first(talk) + b"\nhello\n" + LAST + b"\n"
    await talk.settle("completed")


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ([PLAIN, "Content-Encoding: gzip"], gzip.compress(b"hello", mtime=0)),
        (["Content-Type: application/json"], b'{"answer": "hello"}'),
        (["Content-Type: image/png"], b"\x89PNG"),
        ([], b"hello"),
    ],
)
async def test_what_has_no_room_for_frames_is_left_alone(announcing: Scene, lines: list[str], body: bytes) -> None:
    talk = await begin(announcing)
    await talk.peer.send(head(*lines, ID, f"Content-Length: {len(body)}"), body)
    answer = await talk.client.answer()
    assert (answer.raw, answer.get("Content-Length")) == (body, b"%d" % len(body))
    await talk.settle("completed")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_what_has_no_body_gets_none(announcing: Scene, status: str) -> None:
    talk = await begin(announcing)
    await talk.peer.send(head(PLAIN, ID, status=status))
    assert (await talk.client.head()).get("Transfer-Encoding") is None
    await talk.client.get("/next")
    await talk.peer.request()
    assert talk.client.nothing_came()


async def test_a_refusal_is_left_alone(announcing: Scene) -> None:
    talk = await begin(announcing)
    await talk.peer.send(head(PLAIN, "Content-Length: 5", status="429 Slow down"), b"later")
    assert (await talk.client.answer()).raw == b"later"


async def test_an_existing_conversation_is_not_announced(announcing: Scene) -> None:
    talk = await begin(announcing, names="c1")
    await talk.peer.send(head(PLAIN, "Content-Length: 5"), b"hello")
    assert (await talk.client.answer()).raw == b"hello"


async def test_a_final_id_that_nobody_told_is_not_made_up(announcing: Scene) -> None:
    talk = await begin(announcing)
    await talk.peer.send(head(PLAIN, CHUNKED), chunk(b"hello"), END)
    assert (await talk.client.answer()).body == first(talk) + b"\nhello"


async def test_a_cancel_by_the_announced_id(announcing: Scene) -> None:
    talk = await begin(announcing)
    await talk.answer(PLAIN, ID)
    announced: dict[str, Any] = json.loads((await talk.client.chunk())[1])
    other = await announcing.client()
    await other.cancel({"conversationId": announced["temp_conversation_id"]})
    answer = await other.answer()
    assert (answer.status, answer.body) == (200, b'{"status": "cancelled"}')
    assert await talk.client.gone(AT_ONCE_S) == b""
    await talk.settle("cancelled")
    assert announcing.admin.lines == ["POST /admin/requests/r1/cancel", "DELETE /admin/conversations/c1"]


async def test_a_late_cancel_by_the_announced_id(announcing: Scene) -> None:
    talk = await begin(announcing)
    await talk.peer.send(head(PLAIN, CHUNKED, ID), END)
    temp_id = json.loads((await talk.client.answer()).body.splitlines()[0])["temp_conversation_id"]
    await talk.settle("completed")
    other = await announcing.client()
    await other.cancel({"conversationId": temp_id})
    assert (await other.answer()).body == b'{"status": "cancelled"}'
    await eventually(lambda: announcing.admin.lines == ["DELETE /admin/conversations/c1"])


async def test_an_announced_answer_that_breaks_off_gets_no_final_frame(announcing: Scene) -> None:
    talk = await begin(announcing)
    await talk.answer(PLAIN, ID)
    await talk.client.chunk()
    await talk.say(b"hello")
    talk.peer.reset()
    assert await talk.client.gone() == b""
