"""A list without what was cancelled: its entries go, everything else in the answer stays byte for byte."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from sidecar.errors import JournalUnavailableError
from sidecar.journal.store import SqliteJournal
from tests.fakes.downstream import request_bytes
from tests.fakes.scene import scene
from tests.fakes.waiting import AT_ONCE_S, eventually
from tests.integration.chat.talk import CHUNKED, END, begin, begin_answer, chunk, head
from tests.integration.guard.reading import (
    CLOSE,
    CUT,
    GUARDS,
    HISTORY,
    JSON,
    LISTED,
    ROLLBACK,
    abandon,
    ask,
    deliver,
    listed,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.downstream import Downstream
    from tests.fakes.http import Message
    from tests.fakes.scene import Scene


def cut_lines(running: Scene) -> list[int]:
    return [line["entries"] for line in running.logs if line["event"] == "guard_cut"]


def names(answer: Message) -> list[str]:
    return [entry["id"] for entry in json.loads(answer.body)["items"]]


async def test_while_the_rollback_is_owed_and_when_it_is_done(running: Scene) -> None:
    running.admin.answers[ROLLBACK] = 503
    await abandon(running)
    assert (await read(running, listed())).body == CUT
    del running.admin.answers[ROLLBACK]
    await running.turn_in("cancelled")
    answer = await read(running, listed())
    assert (answer.status, answer.body) == (200, CUT)
    assert answer.get("Content-Length") == b"%d" % len(CUT)
    assert cut_lines(running) == [1, 1]


async def test_the_head_stays_but_for_what_is_no_longer_true(running: Scene) -> None:
    await abandon(running)
    lines = (
        'ETag: "1"',
        "x-Odd: a",
        "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
        "Content-MD5: Q2hlY2s=",
        "X-Odd: b",
        "Repr-Digest: sha-256=:Q2hlY2s=:",
        "Vary: Cookie",
    )
    answer = await read(running, listed(LISTED, *lines))
    assert answer.fields == [
        (b"Content-Type", b"application/json"),
        (b"x-Odd", b"a"),
        (b"Last-Modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (b"X-Odd", b"b"),
        (b"Vary", b"Cookie"),
        (b"Content-Length", b"%d" % len(CUT)),
    ]


async def test_chunks_become_a_length(running: Scene) -> None:
    await abandon(running)
    chunks = [chunk(LISTED[at : at + 7]) for at in range(0, len(LISTED), 7)]
    answer = await read(running, head(JSON, CHUNKED, CLOSE, "Trailer: X-Sum"), *chunks, b"0\r\nX-Sum: 1\r\n\r\n")
    assert answer.body == CUT
    assert (answer.get("Transfer-Encoding"), answer.get("Trailer")) == (None, None)


async def test_an_answer_until_close_gets_a_length_and_the_connection_goes_on(running: Scene) -> None:
    await abandon(running)
    peer, _ = await ask(running, HISTORY)
    await peer.send(head(JSON) + LISTED)
    peer.close()
    assert (await running.clients[-1].answer()).body == CUT
    await running.clients[-1].get("/other")
    assert (await running.upstream.request())[1].target == b"/other"


async def test_http_1_0_gets_the_cut_list_too(running: Scene) -> None:
    await abandon(running)
    client = await running.client()
    await client.send(b"GET /history HTTP/1.0\r\n\r\n")
    peer, _ = await running.upstream.request()
    await peer.send(head(JSON, CHUNKED, CLOSE), chunk(LISTED), END)
    assert (await client.answer()).body == CUT
    await client.gone()


async def test_nothing_else_goes(running: Scene) -> None:
    await abandon(running, names="c0")  # an existing one
    await deliver(running, request_id="r2")
    answer = await read(running, listed(LISTED, 'ETag: "1"'))
    assert (answer.body, answer.get("ETag")) == (LISTED, b'"1"')
    assert cut_lines(running) == []


async def test_what_has_nothing_to_cut_passes_as_it_came_chunks_and_all(running: Scene) -> None:
    answer = await read(running, head(JSON, CHUNKED, CLOSE), chunk(LISTED[:9]), chunk(LISTED[9:]), END)
    assert answer.raw == chunk(LISTED[:9]) + chunk(LISTED[9:]) + END
    assert answer.fields == [(b"Content-Type", b"application/json"), (b"Transfer-Encoding", b"chunked")]


async def test_a_document_that_is_the_list(tmp_path: Path) -> None:
    guard = {"path": "/api/{user}/chats", "list": "", "id": "/meta/key"}
    async with scene(tmp_path, guard=[guard]) as running:
        await abandon(running)
        body = b'[{"meta": {"key": "c1"}}, {"meta": {"key": "c2"}}]'
        answer = await read(running, listed(body), target="/api/me/chats")
        assert answer.body == b'[{"meta": {"key": "c2"}}]'


async def test_many_at_once(running: Scene) -> None:
    """More than a journal's look-up takes, and more than is read on the loop."""
    for number in (1, 700, 1300):
        talk = await begin(running, request_id=f"r{number}")
        await talk.answer(f"X-Conversation-Id: n{number}")
        talk.client.close()
    await eventually(lambda: [turn["state"] for turn in running.turns()] == ["cancelled"] * 3)
    entries = [{"id": f"n{number}", "title": "x" * 40} for number in range(1400)]
    body = json.dumps({"items": entries}).encode()
    assert 65_536 < len(body) < 100_000
    answer = await read(running, listed(body))
    assert names(answer) == [f"n{number}" for number in range(1400) if number not in {1, 700, 1300}]


async def test_before_the_cancel_is_durable(running: Scene) -> None:
    talk = await begin_answer(running)
    async with running.journal_locked():
        talk.client.close()
        assert (await read(running, listed())).body == CUT
        assert running.turns()[0]["state"] == "open"
    await running.turn_in("cancelled")


async def test_left_while_the_upstream_makes_the_list(running: Scene) -> None:
    """What counts is when the list is shown, not when it was asked for."""
    talk = await begin_answer(running)
    peer, _ = await ask(running, HISTORY)
    talk.client.close()
    await talk.peer.gone()
    await peer.send(listed())
    assert (await running.clients[-1].answer()).body == CUT


@pytest.mark.parametrize("leave", [lambda client: client.close(), lambda client: client.reset()])
async def test_a_read_right_behind_the_leaving_never_shows_it(
    running: Scene, leave: Callable[[Downstream], None]
) -> None:
    """The rollback is far from being made."""
    seen: list[str] = ["c0"]
    for number in range(1, 20):
        name = f"c{number}"
        running.admin.answers[f"DELETE /admin/conversations/{name}"] = 503
        talk = await begin(running, request_id=f"r{number}")
        await talk.answer("Content-Type: text/plain", f"X-Conversation-Id: {name}")
        reader = await running.client()
        leave(talk.client)
        reader.send_now(request_bytes("GET", HISTORY))
        peer, _ = await running.upstream.request()
        seen.append(name)
        await peer.send(listed(json.dumps({"items": [{"id": one} for one in seen]}).encode()))
        assert names(await reader.answer()) == ["c0"]


# Towards the upstream


async def test_the_upstream_is_asked_for_what_can_be_read(running: Scene) -> None:
    lines = ("Accept-Encoding: gzip, br", 'If-None-Match: "1"', "X-Odd: 1", "If-Modified-Since: today")
    _, request = await ask(running, HISTORY, *lines, "Range: bytes=0-9", 'If-Range: "1"', "accept-encoding: zstd")
    assert request.values("Accept-Encoding") == [b"identity"]
    assert request.get("X-Odd") == b"1"
    for name in ("If-None-Match", "If-Modified-Since", "Range", "If-Range"):
        assert request.get(name) is None


async def test_it_is_asked_so_although_the_client_did_not_say(running: Scene) -> None:
    _, request = await ask(running, HISTORY)
    assert request.values("Accept-Encoding") == [b"identity"]


@pytest.mark.parametrize(("method", "target"), [("HEAD", HISTORY), ("GET", "/history/c2"), ("PUT", HISTORY)])
async def test_what_is_no_list_is_asked_for_as_it_came(running: Scene, method: str, target: str) -> None:
    _, request = await ask(running, target, "Accept-Encoding: gzip", 'If-None-Match: "1"', method=method)
    assert (request.get("Accept-Encoding"), request.get("If-None-Match")) == (b"gzip", b'"1"')


async def test_a_head_request_is_relayed(running: Scene) -> None:
    await abandon(running)
    answer = await read(running, head(JSON, CLOSE, "Content-Length: 123", 'ETag: "1"'), method="HEAD")
    assert (answer.get("Content-Length"), answer.get("ETag")) == (b"123", b'"1"')


async def test_a_search_by_post_is_guarded_where_the_guard_says_so(running: Scene) -> None:
    await abandon(running)
    client = await running.client()
    await client.send(request_bytes("POST", HISTORY, "Expect: nothing", body=b'{"q": "x"}'))
    peer, request = await running.upstream.request()
    assert request.body == b'{"q": "x"}'
    await peer.send(listed())
    assert (await client.answer()).body == CUT


# Ends


async def test_a_client_that_leaves_before_the_list_is_whole(running: Scene) -> None:
    peer, _ = await ask(running, HISTORY)
    await peer.send(listed()[:-5])
    running.clients[-1].close()
    await peer.gone(AT_ONCE_S)
    assert (await running.exchange_line())["status"] == 499


async def test_an_upstream_that_breaks_off_before_the_list_is_whole(running: Scene) -> None:
    peer, _ = await ask(running, HISTORY)
    await peer.send(listed()[:-5])
    peer.close()
    answer = await running.clients[-1].answer()
    assert (answer.status, json.loads(answer.body)["error"]) == (502, "upstream_failed")


async def test_a_journal_that_cannot_be_asked_shows_nothing(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise JournalUnavailableError("the disk is gone")

    monkeypatch.setattr(SqliteJournal, "in_conversations", fails)
    answer = await read(running, listed())
    assert (answer.status, json.loads(answer.body)["error"]) == (503, "journal_unavailable")


async def test_a_client_that_leaves_while_the_journal_is_asked(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slowly(*_: object) -> list[object]:
        asked.set()
        await answered.wait()
        return []

    monkeypatch.setattr(SqliteJournal, "in_conversations", slowly)
    peer, _ = await ask(running, HISTORY)
    await peer.send(listed())
    await asked.wait()
    running.clients[-1].close()
    await eventually(lambda: not running.sidecar.front._exchanges or _over(running))
    answered.set()
    assert (await running.exchange_line())["status"] == 499


def _over(running: Scene) -> bool:
    return all(exchange._over.done() for exchange in running.sidecar.front._exchanges)


async def test_a_long_list_is_bounded_by_what_is_held(tmp_path: Path) -> None:
    async with scene(tmp_path, guard=[{**GUARDS[1], "bytes_max": len(LISTED)}]) as running:
        await abandon(running)
        assert (await read(running, listed())).body == CUT
