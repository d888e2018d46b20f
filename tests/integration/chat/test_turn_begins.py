"""A turn is durable before the upstream hears of it, and its ids are known on all sides."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.fakes.downstream import CHAT, request_bytes
from tests.fakes.scene import scene
from tests.integration.chat.talk import CHUNKED, END, PLAIN, begin, head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.scene import Scene

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_it_is_journalled_before_it_is_forwarded(running: Scene) -> None:
    client = await running.client()
    async with running.journal_locked():
        await client.chat("X-Request-Id: r1")
        await running.upstream_is_left_alone()
        assert running.turns() == []
    await running.upstream.take()
    (turn,) = running.turns()
    assert (turn["request_id"], turn["state"], turn["begins"], turn["conversation_id"]) == ("r1", "open", 1, None)
    assert turn["route"] == CHAT


async def test_the_request_goes_on_as_it_came(running: Scene) -> None:
    body = b'{ "messages": [],  "stream":true, "x": "\\u00e9" }'
    client = await running.client()
    await client.chat("X-Request-Id: r1", "X-ODD: 1", target=f"{CHAT}?a=%20&b", body=body)
    _, request = await running.upstream.request()
    assert request.start == f"POST {CHAT}?a=%20&b HTTP/1.1".encode()
    assert request.body == body
    assert [name for name, _ in request.fields[:6]] == [
        b"Host",
        b"Content-Type",
        b"Authorization",
        b"X-Request-Id",
        b"X-ODD",
        b"Content-Length",
    ]


async def test_a_chunked_request(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", CHAT, "X-Request-Id: r1", CHUNKED), b'11\r\n{"conversationId"\r\n')
    await client.send(b'6\r\n: "c"}\r\n', END)
    _, request = await running.upstream.request()
    assert request.body == b'{"conversationId": "c"}'
    (turn,) = running.turns()
    assert (turn["conversation_id"], turn["begins"]) == ("c", 0)


async def test_the_request_id_is_returned(running: Scene) -> None:
    talk = await begin(running, request_id="req_1_abc")
    assert talk.request.values("X-Request-Id") == [b"req_1_abc"]
    answer = await talk.answer(PLAIN)
    assert answer.values("X-Request-Id") == [b"req_1_abc"]
    assert answer.get("Content-Type") == b"text/plain; charset=utf-8"


@pytest.mark.parametrize("lines", [[], ["X-Request-Id: "], ["X-Request-Id: " + "x" * 600]])
async def test_a_request_id_is_minted_where_there_is_none(running: Scene, lines: list[str]) -> None:
    client = await running.client()
    await client.chat(*lines)
    peer, request = await running.upstream.request()
    (minted,) = request.values("X-Request-Id")
    assert re.fullmatch(rb"req_\d{13}_[0-9a-z]+", minted)
    await peer.send(head(PLAIN, "Content-Length: 2", "X-Request-Id: mine"), b"hi")
    assert (await client.answer()).values("X-Request-Id") == [minted]
    assert running.turns()[0]["request_id"] == minted.decode()


async def test_the_conversation_id_is_returned_as_the_upstream_tells_it(running: Scene) -> None:
    talk = await begin(running)
    answer = await talk.answer(PLAIN, "x-conversation-id: mobile-1701234567-abcdef123")
    assert answer.values("X-Conversation-Id") == [b"mobile-1701234567-abcdef123"]


async def test_the_conversation_id_is_returned_as_the_request_names_it(running: Scene) -> None:
    talk = await begin(running, names="c9")
    assert (await talk.answer(PLAIN)).values("X-Conversation-Id") == [b"c9"]


async def test_no_conversation_id_is_made_up(running: Scene) -> None:
    talk = await begin(running)
    assert (await talk.answer(PLAIN)).values("X-Conversation-Id") == []


async def test_other_methods_and_paths_are_only_relayed(running: Scene) -> None:
    for request in (
        request_bytes("GET", CHAT),
        request_bytes("POST", CHAT + "/", body=b"{}"),
        request_bytes("POST", "/other", body=b"{}"),
    ):
        client = await running.client()
        await client.send(request)
        peer = await running.upstream.take()
        came = await peer.request()
        assert came.get("X-Request-Id") is None
    assert running.turns() == []


async def test_a_client_that_leaves_amid_its_question_is_not_heard_of(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", CHAT, "X-Request-Id: r1", "Content-Length: 100"), b'{"mess')
    client.close()
    line = await running.exchange_line()
    assert (line["status"], line["cause"]) == (499, "upload_cut")
    await running.upstream_is_left_alone()
    assert running.turns() == []


async def test_a_client_that_leaves_right_behind_its_question(running: Scene) -> None:
    client = await running.client()
    await client.chat("X-Request-Id: r1")
    client.close()
    assert (await running.exchange_line())["status"] == 499
    await running.upstream_is_left_alone()
    assert [turn["state"] for turn in running.turns()] in ([], ["cancelled"])
    assert running.admin.calls == []


async def test_expect_100_continue_is_answered_as_the_body_is_needed(running: Scene) -> None:
    client = await running.client()
    body = json.dumps({"messages": []}).encode()
    lines = ("X-Request-Id: r1", "Expect: 100-continue", f"Content-Length: {len(body)}")
    await client.send(request_bytes("POST", CHAT, *lines))
    assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(body)
    peer, request = await running.upstream.request()
    assert (request.body, request.get("Expect")) == (body, None)
    await peer.send(head(PLAIN, "Content-Length: 2"), b"hi")
    assert (await client.answer()).body == b"hi"


async def test_a_malformed_body_is_a_400(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", CHAT, CHUNKED), b"2\r\n{}\r\n", b"zz\r\n")
    assert (await client.answer()).status == 400
    await client.gone()
    await running.upstream_is_left_alone()


async def test_the_trace_context_is_kept(running: Scene) -> None:
    talk = await begin(running, f"traceparent: {TRACE}")
    assert talk.request.get("traceparent") == TRACE.encode()
    assert running.turns()[0]["traceparent"] == TRACE


async def test_no_secret_is_kept_or_logged(running: Scene) -> None:
    secret, words = "Bearer s3cr3t-token", "my darkest thoughts"
    client = await running.client()
    body = json.dumps({"messages": [words]}).encode()
    await client.chat(f"Authorization: {secret}", "X-Request-Id: r1", target=f"{CHAT}?key={secret[-5:]}", body=body)
    peer, _ = await running.upstream.request()
    await peer.send(head(PLAIN, "Content-Length: 2"), b"hi")
    await client.answer()
    await running.turn_in("completed")
    told = f"{running.logs} {running.turns()} {running.steps()}"
    assert "token" not in told
    assert "darkest" not in told


@pytest.mark.parametrize(
    ("settings", "lines", "names", "begins"),
    [
        ({}, [], None, True),
        ({}, [], "c1", False),
        ({"begins": "always"}, [], None, True),
        ({"begins": "always"}, [], "c1", True),
        ({"begins": "probe"}, [], None, True),
        ({"begins": "probe"}, [], "known", False),
        ({"begins": "probe"}, [], "unknown", True),
        ({"begins": "probe"}, [], "odd", False),
        ({"begins": "request.header:X-New"}, ["X-New: Yes"], "c1", True),
        ({"begins": "request.header:X-New"}, ["X-New: no"], None, False),
        ({"begins": "request.header:X-New"}, [], None, False),
    ],
)
async def test_what_begins_a_conversation(
    tmp_path: Path, settings: dict[str, object], lines: list[str], names: str | None, *, begins: bool
) -> None:
    verify = {"verify": {"method": "GET", "path": "/admin/conversations/{conversation_id}"}}
    async with scene(tmp_path, chat=settings, admin=verify) as running:
        running.admin.answers["GET /admin/conversations/unknown"] = 404
        running.admin.answers["GET /admin/conversations/odd"] = 500
        await begin(running, *lines, names=names)
        assert bool(running.turns()[0]["begins"]) is begins


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["Content-Encoding: gzip"], gzip.compress(b'{"conversationId": "c1"}', mtime=0)),
        ([], b'{"conversationId": "c1"'),
        ([], b"conversationId=c1"),
        ([], b"\xff\xfe"),
    ],
)
async def test_a_body_that_cannot_be_read_may_name_a_conversation(
    running: Scene, lines: list[str], body: bytes
) -> None:
    client = await running.client()
    await client.chat("X-Request-Id: r1", *lines, body=body)
    peer, request = await running.upstream.request()
    assert request.body == body
    await peer.send(head(PLAIN, CHUNKED, "X-Conversation-Id: c1"))
    await client.head()
    client.close()
    await running.turn_in("cancelled")
    assert running.admin.lines == ["POST /admin/requests/r1/cancel"]


async def test_a_long_body_streams_through_and_is_no_beginning(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"inspect_bytes_max": 1000}) as running:
        for length in ("Content-Length: 5000", CHUNKED):
            client = await running.client()
            await client.send(request_bytes("POST", CHAT, "X-Request-Id: r1", length))
            frames = [b"x" * 2500] * 2 if length != CHUNKED else [b"9c4\r\n" + b"x" * 2500 + b"\r\n"] * 2
            await client.send(frames[0])
            peer = await running.upstream.take()
            await peer.head()
            read = b""
            while len(read) < 2500:  # the first half goes on before the second is there
                read += await peer.exactly(2500) if length != CHUNKED else (await peer.chunk())[1]
            await client.send(frames[1])
            await client.send(END if length == CHUNKED else b"")
            while len(read) < 5000:
                read += await peer.exactly(2500) if length != CHUNKED else (await peer.chunk())[1]
            assert read == b"x" * 5000
            await peer.send(head(PLAIN, "Content-Length: 2"), b"hi")
            assert (await client.answer()).body == b"hi"
        assert [turn["begins"] for turn in running.turns()] == [0, 0]
        counted = running.sidecar.metrics.registry.get_sample_value
        assert counted("sidecar_bodies_not_inspected_total", {"route": CHAT}) == 2
