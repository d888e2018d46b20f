"""An explicit cancel of a turn under way, by either id; and what is no proper request to cancel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.fakes.downstream import CANCEL as CANCEL_PATH
from tests.fakes.downstream import CHAT, request_bytes
from tests.fakes.waiting import AT_ONCE_S, eventually
from tests.integration.chat.talk import CHUNKED, END, PLAIN, begin, begin_answer, cancel, chunk, head

if TYPE_CHECKING:
    from tests.fakes.http import Message
    from tests.fakes.scene import Scene

CANCEL = "POST /admin/requests/r1/cancel"
ROLLBACK = "DELETE /admin/conversations/c1"
CANCELLED = b'{"status": "cancelled"}'
LIMIT = 65_536


@pytest.mark.parametrize(
    "ids",
    [
        {"requestId": "r1"},
        {"conversationId": "c1"},
        {"requestId": "r1", "conversationId": "c1"},
        {"requestId": "r1", "conversationId": "another"},
        {"requestId": "unknown", "conversationId": "c1"},
        {"requestId": "r1", "conversationId": None, "extra": [1]},
    ],
)
async def test_a_turn_under_way(running: Scene, ids: dict[str, object]) -> None:
    talk = await begin_answer(running)
    assert await cancel(running, ids) == (200, CANCELLED)
    assert await talk.client.gone(AT_ONCE_S) == b""
    await talk.peer.gone(AT_ONCE_S)
    turn = await talk.settle("cancelled")
    assert turn["cause"] == "requested"
    assert running.admin.lines == [CANCEL, ROLLBACK]
    line = await running.exchange_line()
    assert (line["status"], line["cause"]) == (499, "requested")
    assert running.upstream.nobody_asked()


async def test_before_the_first_byte(running: Scene) -> None:
    talk = await begin(running, names="c1")
    assert await cancel(running, {"requestId": "r1"}) == (200, CANCELLED)
    assert await talk.client.gone(AT_ONCE_S) == b""
    await talk.peer.gone(AT_ONCE_S)
    await talk.settle("cancelled")
    assert running.admin.lines == [CANCEL]


async def test_an_answer_until_close_is_not_ended_cleanly(running: Scene) -> None:
    talk = await begin(running)
    await talk.peer.send(head(PLAIN, "X-Conversation-Id: c1"), b"hello")
    await talk.client.head()
    assert await talk.client.exactly(5) == b"hello"
    assert (await cancel(running, {"requestId": "r1"}))[0] == 200
    with pytest.raises(ConnectionResetError):
        await talk.client.rest()


async def test_chunks_unpacked_for_http_1_0_are_not_ended_cleanly(running: Scene) -> None:
    client = await running.client()
    question = request_bytes("POST", CHAT, "X-Request-Id: r1", "Authorization: Bearer alice", body=b"{}")
    await client.send(question.replace(b"HTTP/1.1", b"HTTP/1.0"))
    peer, _ = await running.upstream.request()
    await peer.send(head(PLAIN, CHUNKED, "X-Conversation-Id: c1"), chunk(b"hello"))
    await client.head()
    assert await client.exactly(5) == b"hello"
    assert (await cancel(running, {"requestId": "r1"}))[0] == 200
    with pytest.raises(ConnectionResetError):
        await client.rest()


async def test_twice_at_once_and_once_more(running: Scene) -> None:
    await begin_answer(running)
    first, second = await running.client(), await running.client()
    await first.cancel({"requestId": "r1"})
    await second.cancel({"conversationId": "c1"})
    assert [(await client.answer()).body for client in (first, second)] == [CANCELLED, CANCELLED]
    await running.turn_in("cancelled")
    assert await cancel(running, {"requestId": "r1"}) == (200, CANCELLED)
    assert running.admin.lines == [CANCEL, ROLLBACK]


async def test_two_turns_of_a_conversation(running: Scene) -> None:
    talks = [await begin(running, request_id=f"r{number}", names="c1") for number in (1, 2)]
    assert await cancel(running, {"conversationId": "c1"}) == (200, CANCELLED)
    for talk in talks:
        assert await talk.client.gone(AT_ONCE_S) == b""
    await eventually(lambda: [turn["state"] for turn in running.turns()] == ["cancelled", "cancelled"])
    assert sorted(running.admin.lines) == [CANCEL, CANCEL.replace("r1", "r2")]


async def test_only_the_turn_that_is_meant(running: Scene) -> None:
    talks = [await begin(running, request_id=f"r{number}", names="c1") for number in (1, 2)]
    assert await cancel(running, {"requestId": "r2"}) == (200, CANCELLED)
    assert await talks[1].client.gone(AT_ONCE_S) == b""
    assert talks[0].client.nothing_came()
    await talks[0].peer.send(head(PLAIN, "Content-Length: 2"), b"hi")
    assert (await talks[0].client.answer()).body == b"hi"


async def test_the_asking_connection_goes_on(running: Scene) -> None:
    await begin_answer(running)
    client = await running.client()
    await client.cancel({"requestId": "r1"})
    assert (await client.answer()).body == CANCELLED
    await client.chat("X-Request-Id: r2")
    peer, _ = await running.upstream.request()
    await peer.send(head(PLAIN, CHUNKED), chunk(b"hi"), END)
    assert (await client.answer()).body == b"hi"


async def test_an_answer_that_is_not_read_to_its_end_yet(running: Scene) -> None:
    talk = await begin(running, small_buffer=True)
    body = b"x" * 60_000
    await talk.peer.send(head(PLAIN, "X-Conversation-Id: c1", f"Content-Length: {len(body)}"), body)
    await running.turn_in("answered")
    assert await cancel(running, {"requestId": "r1"}) == (200, CANCELLED)
    with pytest.raises(ConnectionError):
        await talk.client.answer()
    await talk.settle("cancelled")
    assert running.admin.lines == [ROLLBACK]


async def ask_badly(running: Scene, body: bytes, *lines: str) -> Message:
    client = await running.client()
    await client.cancel(body, *lines)
    answer = await client.answer()
    assert running.upstream.nobody_asked()
    return answer


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"{", None),
        (b"\xff\xfe", None),
        (b"[" * 60_000, None),
        (b"[]", None),
        (b'"r1"', None),
        (b"null", None),
        (b"{}", "requestId"),
        (b'{"requestId": null, "conversationId": null}', "requestId"),
        (b'{"requestId": 5}', "requestId"),
        (b'{"requestId": true}', "requestId"),
        (b'{"requestId": ["r1"]}', "requestId"),
        (b'{"requestId": ""}', "requestId"),
        (b'{"requestId": "' + b"r" * 600 + b'"}', "requestId"),
        (b'{"requestId": "a\\u0000b"}', "requestId"),
        (b'{"requestId": "r1", "conversationId": {}}', "conversationId"),
        (b'{"conversationId": 1.5}', "conversationId"),
    ],
)
async def test_what_makes_no_sense_is_a_400_that_names_the_field(
    running: Scene, body: bytes, field: str | None
) -> None:
    answer = await ask_badly(running, body)
    told = json.loads(answer.body)
    assert (answer.status, told["error"], told.get("field")) == (400, "invalid", field)
    assert told["message"]


@pytest.mark.parametrize("padding", [LIMIT, 10 * LIMIT])
async def test_too_much_is_a_413(running: Scene, padding: int) -> None:
    answer = await ask_badly(running, b'{"requestId": "r1"' + b" " * padding + b"}")
    assert (answer.status, json.loads(answer.body)["error"]) == (413, "invalid")


async def test_too_much_in_chunks_is_a_413(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", CANCEL_PATH, CHUNKED), *[chunk(b" " * 20_000)] * 4)
    assert (await client.answer()).status == 413


async def test_just_enough_is_read(running: Scene) -> None:
    body = b'{"requestId": "r1"'
    answer = await ask_badly(running, body + b" " * (LIMIT - len(body) - 1) + b"}")
    assert answer.status == 202


async def test_chunks_and_an_expectation_are_fine(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", CANCEL_PATH, CHUNKED, "Expect: 100-continue"))
    assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(chunk(b'{"requestId"'), chunk(b': "r1"}'), END)
    assert (await client.answer()).status == 202


async def test_malformed_chunks_are_a_400(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", CANCEL_PATH, CHUNKED), chunk(b'{"requestId"'))
    await client.send(b"zz\r\n")
    assert (await client.answer()).status == 400
    await client.gone()


async def test_a_client_that_leaves_while_it_asks(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", CANCEL_PATH, "Content-Length: 100"), b'{"requ')
    client.close()
    talk = await begin(running)
    assert talk.client.nothing_came()


async def test_another_method_is_only_relayed(running: Scene) -> None:
    client = await running.client()
    await client.get(CANCEL_PATH)
    peer, request = await running.upstream.request()
    assert request.target == CANCEL_PATH.encode()
    await peer.send(head("Content-Length: 0", status="405 No"))
    assert (await client.answer()).status == 405
