"""An upstream that is down, silent, or breaks HTTP: a proper status while one can be said, else a broken answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.fakes.downstream import request_bytes
from tests.fakes.scene import scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.scene import Scene
    from tests.fakes.sockets import RawSocket

OK = b"HTTP/1.1 200 OK\r\n"


def leave_by_fin(peer: RawSocket) -> None:
    peer.close()


def leave_by_reset(peer: RawSocket) -> None:
    peer.reset()


LEAVING = pytest.mark.parametrize("leave", [leave_by_fin, leave_by_reset])


async def test_an_upstream_that_refuses_is_a_502(running: Scene) -> None:
    running.upstream.refuse()
    client = await running.client()
    for _ in range(2):
        await client.get()
        answer = await client.answer()
        assert answer.status == 502
        assert answer.get("Content-Type") == b"application/json"
        assert json.loads(answer.body)["error"] == "upstream_unreachable"
    line = await running.exchange_line()
    assert line["status"] == 502
    assert "refused" in line["error"]


async def test_a_502_for_head_has_no_body(running: Scene) -> None:
    running.upstream.refuse()
    client = await running.client()
    await client.send(request_bytes("HEAD", "/x"), request_bytes("GET", "/y"))
    assert (await client.answer("HEAD")).status == 502
    assert (await client.answer()).status == 502


@LEAVING
async def test_an_upstream_that_closes_before_answering_is_a_502(
    running: Scene, leave: Callable[[RawSocket], None]
) -> None:
    client = await running.client()
    await client.get()
    peer, _ = await running.upstream.request()
    leave(peer)
    assert (await client.answer()).status == 502
    assert running.upstream.nobody_came()


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"X: " + b"y" * 70_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ],
)
async def test_garbage_is_a_502(running: Scene, garbage: bytes) -> None:
    client = await running.client()
    await client.get()
    peer, _ = await running.upstream.request()
    await peer.send(garbage)
    answer = await client.answer()
    assert answer.status == 502
    assert json.loads(answer.body)["error"] == "upstream_failed"
    await peer.gone()


async def test_silence_before_the_head_is_a_504(tmp_path: Path) -> None:
    async with scene(tmp_path, upstream={"response_timeout_s": 0.05}) as running:
        client = await running.client()
        await client.get()
        peer, _ = await running.upstream.request()
        assert (await client.answer()).status == 504
        await peer.gone()
        line = await running.exchange_line()
        assert (line["status"], line["aborted_by"]) == (504, None)


async def test_silence_amid_the_answer_breaks_it_off(tmp_path: Path) -> None:
    async with scene(tmp_path, upstream={"idle_timeout_s": 0.05}) as running:
        client = await running.client()
        await client.get()
        peer, _ = await running.upstream.request()
        await peer.send(OK + b"Content-Length: 10\r\n\r\nhello")
        with pytest.raises(ConnectionError):
            await client.answer()
        await peer.gone()


@LEAVING
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 10\r\n\r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n"),
    ],
)
async def test_an_answer_that_breaks_off_never_ends_cleanly(
    running: Scene, head: bytes, body: bytes, leave: Callable[[RawSocket], None]
) -> None:
    client = await running.client()
    await client.get()
    peer, _ = await running.upstream.request()
    await peer.send(OK + head + body)
    await client.head()
    assert await client.exactly(len(body)) == body
    leave(peer)
    assert await client.gone() == b""
    line = await running.exchange_line()
    assert (line["status"], line["error"]) == (200, "broke off mid-answer")


async def test_an_answer_until_close_that_breaks_off_is_reset(running: Scene) -> None:
    client = await running.client()
    await client.get()
    peer, _ = await running.upstream.request()
    await peer.send(OK + b"\r\nhello")
    await client.head()
    assert await client.exactly(5) == b"hello"
    peer.reset()
    with pytest.raises(ConnectionResetError):
        await client.rest()


async def test_chunks_unpacked_for_http_1_0_that_break_off_are_reset(running: Scene) -> None:
    client = await running.client()
    await client.send(b"GET / HTTP/1.0\r\nHost: app.example\r\n\r\n")
    peer, _ = await running.upstream.request()
    await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await client.head()
    assert await client.exactly(5) == b"hello"
    peer.close()
    with pytest.raises(ConnectionResetError):
        await client.rest()


@pytest.mark.parametrize("chunk", [b"zz\r\nhello", b"5\r\nhelloXX"])
async def test_malformed_chunks_break_the_answer_off(running: Scene, chunk: bytes) -> None:
    client = await running.client()
    await client.get()
    peer, _ = await running.upstream.request()
    await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nhi\r\n")
    await client.head()
    assert (await client.chunk())[1] == b"hi"
    await peer.send(chunk)
    assert not (await client.gone()).endswith(b"0\r\n\r\n")
    await peer.gone()


async def test_a_refusal_of_an_upload_is_passed_on_though_the_upstream_resets(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Content-Length: 1000000"), b"x" * 100_000)
    peer = await running.upstream.take()
    await peer.head()
    await peer.send(b"HTTP/1.1 413 Too much\r\nContent-Length: 3\r\n\r\nno!")
    peer.close()  # with bytes unread: a reset
    assert (await client.answer()).status == 413


async def test_the_next_request_finds_the_upstream_well_again(running: Scene) -> None:
    client = await running.client()
    await client.get("/one")
    peer, _ = await running.upstream.request()
    peer.reset()
    assert (await client.answer()).status == 502
    await client.get("/two")
    peer, request = await running.upstream.request()
    assert request.target == b"/two"
    await peer.send(OK + b"Content-Length: 2\r\n\r\nhi")
    assert (await client.answer()).body == b"hi"
