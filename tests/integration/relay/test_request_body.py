"""A request's body reaches the upstream byte for byte; only its chunks are cut anew."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.fakes.downstream import request_bytes
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from tests.fakes.scene import Scene

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = request_bytes("POST", "/x", "Transfer-Encoding: chunked")


@pytest.mark.parametrize("body", [b"", b"x", b"\x00\r\n\r\nGET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 1000])
async def test_a_body_of_known_length(running: Scene, body: bytes) -> None:
    client = await running.client()
    await client.send(request_bytes("PUT", "/x", body=body))
    peer, came = await running.upstream.request()
    assert (came.body, came.values("Content-Length")) == (body, [b"%d" % len(body)])
    await peer.send(ANSWER)
    assert (await client.answer()).body == b"ok"
    line = await running.exchange_line()
    assert (line["bytes_up"], line["bytes_down"]) == (len(body), 2)


async def test_a_chunked_body(running: Scene) -> None:
    client = await running.client()
    await client.send(CHUNKED, b"5\r\nhello\r\n")
    peer = await running.upstream.take()
    head = await peer.head()
    assert (head.values("Transfer-Encoding"), head.get("Content-Length")) == ([b"chunked"], None)
    assert (await peer.chunk())[1] == b"hello"
    assert peer.nothing_came()
    await client.send(b'1;ext="x"\r\n!\r\n')
    assert await peer.chunk() == (b'1;ext="x"\r\n!\r\n', b"!")
    await client.send(b"0\r\nX-Trailer: 1\r\n\r\n")
    assert await peer.chunk() == (b"0\r\nX-Trailer: 1\r\n\r\n", b"")
    await peer.send(ANSWER)
    assert (await client.answer()).body == b"ok"


async def test_a_chunked_body_that_comes_byte_by_byte(running: Scene) -> None:
    client = await running.client()
    whole = CHUNKED + b"3\r\nabc\r\n2;a=b\r\nde\r\n0\r\n\r\n"
    await client.send(*(whole[position : position + 1] for position in range(len(whole))))
    peer, came = await running.upstream.request()
    assert came.body == b"abcde"
    await peer.send(ANSWER)
    assert (await client.answer()).status == 200


async def test_an_empty_chunked_body(running: Scene) -> None:
    client = await running.client()
    await client.send(CHUNKED + b"0\r\n\r\n")
    peer, came = await running.upstream.request()
    assert came.raw == b"0\r\n\r\n"
    await peer.send(ANSWER)
    assert (await client.answer()).status == 200


async def test_a_delete_gets_no_length_of_ours(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("DELETE", "/x"))
    peer, came = await running.upstream.request()
    assert (came.get("Content-Length"), came.get("Transfer-Encoding")) == (None, None)
    await peer.send(ANSWER)
    assert (await client.answer()).status == 200


async def test_a_compressed_body_is_left_alone(running: Scene) -> None:
    body = gzip.compress(b"hello" * 100)
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Content-Encoding: gzip", body=body))
    peer, came = await running.upstream.request()
    assert (came.body, came.get("Content-Encoding")) == (body, b"gzip")
    await peer.send(ANSWER)
    assert (await client.answer()).status == 200


async def test_a_large_upload(running: Scene) -> None:
    body = hashlib.sha256(b"seed").digest() * 131_072  # 4 MiB
    client = await running.client()
    sending = request_bytes("POST", "/x", body=body)
    sent = client.send_now(sending)
    peer = await running.upstream.take()
    head = await peer.head()
    digest, size = hashlib.sha256(), 0
    while size < len(body):
        sent += client.send_now(sending[sent : sent + 262_144])
        piece = await peer.some()
        digest.update(piece)
        size += len(piece)
    assert head.get("Content-Length") == b"%d" % len(body)
    assert digest.digest() == hashlib.sha256(body).digest()
    await peer.send(ANSWER)
    assert (await client.answer()).body == b"ok"


async def test_the_head_does_not_wait_for_the_body(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Content-Length: 5"))
    peer = await running.upstream.take()
    assert (await peer.head()).get("Content-Length") == b"5"
    await client.send(b"he")
    assert await peer.exactly(2) == b"he"
    await client.send(b"llo")
    assert await peer.exactly(3) == b"llo"
    await peer.send(ANSWER)
    assert (await client.answer()).status == 200


@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Go on\r\nX-Why: not\r\n\r\n"])
async def test_expect_100_continue_is_between_the_two_ends(running: Scene, interim: bytes) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Expect: 100-continue", "Content-Length: 5"))
    peer = await running.upstream.take()
    assert (await peer.head()).get("Expect") == b"100-continue"
    assert client.nothing_came()
    await peer.send(interim)
    assert await client.until(b"\r\n\r\n") == interim
    await client.send(b"hello")
    assert await peer.exactly(5) == b"hello"
    await peer.send(ANSWER)
    assert (await client.answer()).body == b"ok"


async def test_expect_100_continue_can_be_refused(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Expect: 100-continue", "Content-Length: 5"))
    peer = await running.upstream.take()
    await peer.head()
    await peer.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
    answer = await client.answer()
    assert (answer.status, answer.get("Connection")) == (417, b"close")  # the client will not send the body any more
    assert await client.rest() == b""


async def test_an_answer_before_the_upload_ends(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Content-Length: 1000000"), b"x" * 1000)
    peer = await running.upstream.take()
    await peer.head()
    await peer.send(b"HTTP/1.1 413 Too much\r\nContent-Length: 3\r\n\r\nno!")
    answer = await client.answer()
    assert (answer.status, answer.body) == (413, b"no!")
    assert (await running.exchange_line())["status"] == 413
    await peer.gone()


async def test_an_answer_that_streams_while_the_upload_goes_on(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Transfer-Encoding: chunked"))
    peer = await running.upstream.take()
    await peer.head()
    await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await client.head()
    for word in (b"one", b"two"):
        await client.send(b"3\r\n" + word + b"\r\n")
        assert (await peer.chunk())[1] == word
        await peer.send(b"3\r\n" + word + b"\r\n")
        assert (await client.chunk())[1] == word
    await client.send(b"0\r\n\r\n")
    assert await peer.chunk() == (b"0\r\n\r\n", b"")
    await peer.send(b"0\r\n\r\n")
    assert await client.chunk() == (b"0\r\n\r\n", b"")


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"3\r\nabcd\r\n", b"-1\r\n", b"5\nhello\r\n"])
async def test_a_malformed_chunk_is_not_passed_on_as_an_end(running: Scene, chunk: bytes) -> None:
    client = await running.client()
    await client.send(CHUNKED, b"2\r\nok\r\n")
    peer = await running.upstream.take()
    await peer.head()
    await peer.chunk()
    await client.send(chunk)
    assert (await client.answer()).status == 400
    assert b"0\r\n\r\n" not in await peer.gone()
    line = await running.exchange_line()
    assert (line["status"], line["cause"]) == (400, "upload_cut")
    await eventually(lambda: not client.nothing_came())
