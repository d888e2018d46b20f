"""An upstream that breaks HTTP, by mistake or on purpose: nothing gets through on which two readers could differ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sidecar.upstream.answer import INFORMATIONAL_MAX
from sidecar.wire.answer_head import FIELDS_MAX, HEAD_BYTES_MAX
from tests.fakes.downstream import request_bytes

if TYPE_CHECKING:
    from tests.fakes.scene import Scene

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"

SPLIT = [
    OK + b"X: a\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: a\r\n\tfolded\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: \x01\r\nContent-Length: 0\r\n\r\n",
    OK + b"X : a\r\nContent-Length: 0\r\n\r\n",
    OK + b": a\r\nContent-Length: 0\r\n\r\n",
    OK + b"X y: a\r\nContent-Length: 0\r\n\r\n",
    OK + b"no colon\r\nContent-Length: 0\r\n\r\n",
    OK + b" X: a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
]
LENGTHS = [
    OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    OK + b"Content-Length: 2, 2\r\n\r\nhi",
    OK + b"Content-Length: +2\r\n\r\nhi",
    OK + b"Content-Length: -2\r\n\r\nhi",
    OK + b"Content-Length: 0x2\r\n\r\nhi",
    OK + b"Content-Length: 2 2\r\n\r\nhi",
    OK + b"Content-Length:\r\n\r\nhi",
    OK + b"Content-Length: 9999999999999999999999\r\n\r\nhi",
    OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]
LINES = [
    b"HTTP/1.2 200 OK\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n",
    b"http/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1 000 OK\r\n\r\n",
    b"\r\n" + OK + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01",
]
FLOODS = [
    b"HTTP/1.1 100 Continue\r\n\r\n" * (INFORMATIONAL_MAX + 1),
    OK + b"X: %b\r\n\r\n" % (b"y" * HEAD_BYTES_MAX),
    OK + b"X: y\r\n" * (FIELDS_MAX + 1) + b"\r\n",
    b"HTTP/1.1 200 " + b"x" * HEAD_BYTES_MAX,
]


CHUNKS = [
    b"-1\r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b"0x5\r\nhello\r\n",
    b"5 x\r\nhello\r\n",
    b" 5\r\nhello\r\n",
    b"5\nhello\r\n",
    b"5\r\nhello\n",
    b"5\r\nhello\r\r\n",
    b"\r\nhello\r\n",
    b"fffffffffffffffff\r\nhello\r\n",
    b"5;\0\r\nhello\r\n",
    b"5;a\rb\r\nhello\r\n",
    b"0\r\nT: a\nb\r\n\r\n",
    b"0\r\nT: a\0\r\n\r\n",
]


@pytest.mark.parametrize("answers", [SPLIT, LENGTHS, LINES, FLOODS], ids=["split", "lengths", "lines", "floods"])
async def test_what_is_ambiguous_is_a_502(running: Scene, answers: list[bytes]) -> None:
    client = await running.client()  # whose own connection is none the worse for any of it
    for answer in answers:
        await client.get()
        peer, _ = await running.upstream.request()
        await peer.send(answer)
        told = await client.answer()
        while told.status == 100:
            told = await client.answer()
        assert told.status == 502, answer
        assert json.loads(told.body)["error"] == "upstream_failed", answer
        await peer.gone()


async def test_a_malformed_chunk_breaks_the_answer_off_visibly(running: Scene) -> None:
    for number, chunk in enumerate(CHUNKS):
        client = await running.client()
        await client.get()
        peer, _ = await running.upstream.request()
        await peer.send(CHUNKED + b"2\r\nhi\r\n")
        await client.head()
        assert (await client.chunk())[1] == b"hi"
        await peer.send(chunk)
        assert not (await client.gone()).endswith(b"0\r\n\r\n"), chunk
        await peer.gone()
        line = await running.exchange_line(number)
        assert line["status"] == 200
        assert line["error"], chunk


@pytest.mark.parametrize("first", [OK + b"Content-Length: 2\r\n\r\nhi", CHUNKED + b"2\r\nhi\r\n0\r\n\r\n"])
async def test_what_follows_an_answer_is_nobodys(running: Scene, first: bytes) -> None:
    """An answer that nobody asked for must not become the answer to the next question."""
    client = await running.client()
    await client.get("/one")
    peer, _ = await running.upstream.request()
    await peer.send(first + SMUGGLED)
    assert (await client.answer()).body == b"hi"
    await peer.gone()
    await client.get("/two")
    peer, request = await running.upstream.request()
    assert request.target == b"/two"
    await peer.send(OK + b"Content-Length: 3\r\n\r\ntwo")
    assert (await client.answer()).body == b"two"


@pytest.mark.parametrize(
    ("method", "answer", "body"),
    [
        ("HEAD", OK + b"Content-Length: 5\r\n\r\n", b""),
        ("HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
    ],
)
async def test_an_answer_without_a_body_leaves_both_connections_good(
    running: Scene, method: str, answer: bytes, body: bytes
) -> None:
    client = await running.client()
    await client.send(request_bytes(method, "/one"))
    peer, _ = await running.upstream.request()
    await peer.send(answer)
    told = await client.answer(method)
    assert told.body == body
    assert told.start == answer.partition(b"\r\n")[0]
    await client.get("/two")
    assert (await peer.request()).target == b"/two"
    await peer.send(OK + b"Content-Length: 3\r\n\r\ntwo")
    assert (await client.answer()).body == b"two"
