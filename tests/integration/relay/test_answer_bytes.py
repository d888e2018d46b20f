"""An answer's bytes pass as they came, whatever frames them; only a client of HTTP/1.0 gets chunks unpacked."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.fakes.downstream import request_bytes

if TYPE_CHECKING:
    from tests.fakes.downstream import Downstream
    from tests.fakes.http import Message
    from tests.fakes.scene import Scene
    from tests.fakes.sockets import RawSocket

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"
CHUNKS = b'5\r\nhello\r\n0001;a="\xe9";b\r\n \r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n'


async def ask(running: Scene, method: str = "GET", *, version: str = "1.1") -> tuple[Downstream, RawSocket]:
    """Send a request; give the client's and the upstream's end."""
    client = await running.client()
    await client.send(request_bytes(method, "/x").replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
    peer, _ = await running.upstream.request()
    return client, peer


async def answer_to(running: Scene, sent: bytes, method: str = "GET", *, version: str = "1.1") -> Message:
    """Have the upstream answer with these bytes and close; give the answer as it arrives."""
    client, peer = await ask(running, method, version=version)
    await peer.send(sent)
    peer.close()
    return await client.answer(method)


async def test_the_head_keeps_order_case_duplicates_and_bytes(running: Scene) -> None:
    fields = [
        (b"Set-Cookie", b"a=1"),
        (b"X-ODD", b"\xe9 \xff"),
        (b"set-cookie", b"b=2"),
        (b"Content-Length", b"0"),
        (b"Server", b"old/1.0"),
        (b"SET-cookie", b"c=3"),
        (b"X-Empty", b""),
    ]
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    answer = await answer_to(running, b"HTTP/1.1 299 All \xe9 right\r\n" + lines + b"\r\n")
    assert (answer.start, answer.fields) == (b"HTTP/1.1 299 All \xe9 right", fields)


async def test_an_empty_reason_stays_empty(running: Scene) -> None:
    answer = await answer_to(running, b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n")
    assert answer.start == b"HTTP/1.1 200 "


async def test_hop_by_hop_fields_go(running: Scene) -> None:
    answer = await answer_to(
        running,
        OK + b"Connection: close, X-Mine\r\nKeep-Alive: timeout=1\r\nx-mine: 1\r\nX-Other: 2\r\n"
        b"Proxy-Connection: close\r\nContent-Length: 2\r\n\r\nhi",
    )
    assert answer.fields == [(b"X-Other", b"2"), (b"Content-Length", b"2")]


async def test_chunks_extensions_and_trailers_pass_byte_by_byte(running: Scene) -> None:
    client, peer = await ask(running)
    whole = CHUNKED + b"\r\n" + CHUNKS
    await peer.send(*(whole[position : position + 1] for position in range(len(whole))))
    answer = await client.answer()
    assert (answer.raw, answer.body) == (CHUNKS, b"hello 0123456789")
    assert answer.fields == [(b"Transfer-Encoding", b"chunked")]


@pytest.mark.parametrize("cut", range(1, 9))
async def test_padded_chunk_sizes_pass(running: Scene, cut: int) -> None:
    """Old servers pad them with spaces, and everybody reads that; of a request, it is refused."""
    chunks = b"3   \r\nabc\r\n0 \r\n\r\n"
    client, peer = await ask(running)
    await peer.send(CHUNKED + b"\r\n" + chunks[:cut])
    await client.head()
    await peer.send(chunks[cut:])
    assert await client.until(b"\r\n\r\n") == chunks
    assert (await running.exchange_line())["status"] == 200


async def test_each_piece_passes_at_once(running: Scene) -> None:
    client, peer = await ask(running)
    await peer.send(CHUNKED + b"\r\n")
    await client.head()
    for piece in (b"5\r", b"\nhe", b"llo", b"\r\n", b"0\r\n\r", b"\n"):
        await peer.send(piece)
        assert await client.exactly(len(piece)) == piece


async def test_bytes_behind_the_end_go_nowhere(running: Scene) -> None:
    client, peer = await ask(running)
    await peer.send(OK + b"Content-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
    assert (await client.answer()).body == b"hi"
    await peer.gone()
    await client.get("/next")
    peer, _ = await running.upstream.request()
    await peer.send(OK + b"Content-Length: 4\r\n\r\nnext")
    assert (await client.answer()).body == b"next"


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", OK + b"Content-Length: 500\r\n\r\n"),
        ("HEAD", CHUNKED + b"\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: x\r\n\r\n"),
    ],
)
async def test_answers_without_a_body_keep_the_connection(running: Scene, method: str, head: bytes) -> None:
    client, peer = await ask(running, method)
    for _ in range(2):
        await peer.send(head)
        assert await client.until(b"\r\n\r\n") == head
        await client.send(request_bytes(method, "/again"))
        await peer.request()


@pytest.mark.parametrize("field", [b"Content-Length: 5", b"Content-Length: 0", b"Transfer-Encoding: chunked"])
async def test_an_answer_that_has_no_body_announces_none(running: Scene, field: bytes) -> None:
    client, peer = await ask(running)
    for _ in range(2):
        await peer.send(b"HTTP/1.1 204 No Content\r\n" + field + b"\r\nX-A: b\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"
        await client.get("/again")
        await peer.request()


@pytest.mark.parametrize("status", [299, 451, 599, 600, 999])
async def test_a_status_that_nobody_knows_passes(running: Scene, status: int) -> None:
    answer = await answer_to(running, b"HTTP/1.1 %d Odd\r\nContent-Length: 2\r\n\r\nhi" % status)
    assert (answer.status, answer.body) == (status, b"hi")


async def test_a_compressed_answer_is_left_alone(running: Scene) -> None:
    body = gzip.compress(b"hello" * 100)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = await answer_to(running, head + body)
    assert (answer.body, answer.get("Content-Encoding")) == (body, b"gzip")


async def test_a_large_answer(running: Scene) -> None:
    body = hashlib.sha256(b"seed").digest() * 131_072  # 4 MiB
    client, peer = await ask(running)
    sending = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
    sent = peer.send_now(sending)
    await client.head()
    digest, size = hashlib.sha256(), 0
    while size < len(body):
        sent += peer.send_now(sending[sent : sent + 262_144])
        piece = await client.some()
        digest.update(piece)
        size += len(piece)
    assert digest.digest() == hashlib.sha256(body).digest()
    assert (await running.exchange_line())["bytes_down"] == len(body)


async def test_interim_answers_pass(running: Scene) -> None:
    interims = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nlink: </b>\r\n\r\n"
    client, peer = await ask(running)
    await peer.send(interims)
    assert await client.exactly(len(interims)) == interims
    await peer.send(OK + b"Content-Length: 2\r\n\r\nhi")
    assert (await client.answer()).body == b"hi"


async def test_an_answer_that_ends_by_close(running: Scene) -> None:
    client, peer = await ask(running)
    await peer.send(OK + b"\r\n", b"some", b"thing")
    head = await client.head()
    assert head.fields == [(b"Connection", b"close")]
    assert await client.exactly(9) == b"something"
    peer.close()
    assert await client.rest() == b""
    assert (await running.exchange_line())["status"] == 200


async def test_a_client_of_http_1_0_gets_chunks_unpacked(running: Scene) -> None:
    answer = await answer_to(running, CHUNKED + b"Trailer: X-Sum\r\n\r\n" + CHUNKS, version="1.0")
    assert answer.fields == [(b"Connection", b"close")]
    assert answer.raw == b"hello 0123456789"


async def test_a_client_of_http_1_0_is_not_told_of_chunks_by_an_answer_to_head(running: Scene) -> None:
    client, peer = await ask(running, "HEAD", version="1.0")
    await peer.send(CHUNKED + b"\r\n")
    assert await client.rest() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


async def test_an_answer_of_our_own_ends_a_connection_of_http_1_0(running: Scene) -> None:
    client = await running.client()
    await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    peer = await running.upstream.take()
    await peer.request()
    peer.close()
    answer = await client.answer()
    assert (answer.status, answer.get("Connection")) == (502, b"close")
    assert await client.rest() == b""


async def test_a_client_of_http_1_0_is_not_told_of_interim_answers(running: Scene) -> None:
    sent = b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi"
    answer = await answer_to(running, sent, version="1.0")
    assert (answer.status, answer.body) == (200, b"hi")


async def test_a_client_of_http_1_0_may_keep_its_connection(running: Scene) -> None:
    client = await running.client()
    peer = None
    for _ in range(2):
        await client.send(b"GET / HTTP/1.0\r\nHost: app.example\r\nConnection: keep-alive\r\n\r\n")
        peer = peer or await running.upstream.take()
        await peer.request()
        await peer.send(OK + b"Content-Length: 2\r\n\r\nhi")
        answer = await client.answer()
        assert (answer.body, answer.get("Connection")) == (b"hi", b"keep-alive")


async def test_an_upstream_of_http_1_0(running: Scene) -> None:
    client, peer = await ask(running)
    await peer.send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    peer.close()
    answer = await client.answer()
    assert (answer.start, answer.body, answer.get("Connection")) == (b"HTTP/1.1 200 OK", b"hi", None)
