"""Requests that are no proper HTTP, or that come too slowly, never reach the upstream and leave no traceback."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from sidecar.downstream.routes import Routes
from sidecar.errors import BugError
from tests.fakes.downstream import CANCEL, Downstream, request_bytes
from tests.fakes.scene import scene
from tests.fakes.waiting import eventually, loop_turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.scene import Scene

HOST = b"Host: app.example\r\n"
LENGTHS = b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!"
SMUGGLED = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : app.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\nHost: app.example\n\n",
        b"POST / HTTP/1.1\r\n" + HOST + LENGTHS,
        b"POST / HTTP/1.1\r\n" + HOST + SMUGGLED,
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 200 + b"\r\n",
    ],
)
async def test_what_cannot_be_read_is_a_400(running: Scene, request_: bytes) -> None:
    client = await running.client()
    await client.send(request_)
    answer = await client.answer()
    assert answer.status == 400
    assert json.loads(answer.body) == {"error": "bad_request", "message": "The request could not be read."}
    await client.gone()
    await running.upstream_is_left_alone()


async def test_a_bug_of_ours_is_a_500_and_shows(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BugError("ours")

    monkeypatch.setattr(Routes, "find", fail)
    client = await running.client()
    await client.get()
    answer = await client.answer()
    assert (answer.status, json.loads(answer.body)["error"]) == (500, "internal_error")
    failed = running.logs.pop()
    assert (failed["event"], failed["log_level"], str(failed["exc_info"])) == ("request_failed", "error", "ours")


@pytest.mark.parametrize("leave", [Downstream.close, Downstream.reset])
async def test_a_client_that_leaves_after_an_early_answer_leaves_no_traceback(
    running: Scene, leave: Callable[[Downstream], None]
) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Content-Length: 1000000"), b"x" * 1000)
    peer = await running.upstream.take()
    await peer.head()
    await peer.send(b"HTTP/1.1 413 Too much\r\nContent-Length: 3\r\n\r\nno!")
    assert (await client.answer()).status == 413
    leave(client)
    await eventually(lambda: not running.sidecar.front.connections)


async def test_a_bad_request_behind_a_good_one_waits_its_turn(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/good", body=b"hi"))
    peer, request = await running.upstream.request()
    await client.send(b"nonsense\r\n\r\n")
    assert (request.target, request.body) == (b"/good", b"hi")
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert (await client.answer()).body == b"hi"
    assert (await client.answer()).status == 400
    await client.gone()
    await running.upstream_is_left_alone()


async def test_a_head_that_comes_too_slowly_is_a_408(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"head_timeout_s": 0.1}) as running:
        client = await running.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: app", b".example\r\n")
        answer = await client.answer()
        assert (answer.status, answer.get("Connection")) == (408, b"close")
        assert await client.rest() == b""
        await running.upstream_is_left_alone()


async def test_a_client_that_says_nothing_is_let_go_without_a_word(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"head_timeout_s": 0.05}) as running:
        client = await running.client()
        assert await client.rest() == b""


async def test_a_slow_body_is_not_a_slow_head(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"head_timeout_s": 0.05}) as running:
        late = asyncio.get_running_loop().time() + 0.1
        for target in (CANCEL, "/relayed"):
            client = await running.client()
            await client.send(request_bytes("POST", target, "Content-Length: 60000"))
            while asyncio.get_running_loop().time() < late:
                await client.send(b" ")
                await loop_turns()
            assert client.nothing_came()
            late += 0.1


async def test_a_later_head_has_its_own_time(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"head_timeout_s": 0.1}) as running:
        client = await running.client()
        await client.get()
        peer, _ = await running.upstream.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert (await client.answer()).body == b"hi"
        await client.send(b"GET / HTTP/1.1\r\n")
        assert (await client.answer()).status == 408


async def test_an_idle_connection_is_not_a_slow_head(tmp_path: Path) -> None:
    settings = {"head_timeout_s": 0.05, "keepalive_timeout_s": 0.3}
    async with scene(tmp_path, listen=settings) as running:
        client = await running.client()
        await client.get()
        peer, _ = await running.upstream.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert (await client.answer()).body == b"hi"
        assert await client.rest() == b""


async def test_a_connection_that_only_cancelled_is_not_a_slow_head(tmp_path: Path) -> None:
    settings = {"head_timeout_s": 0.05, "keepalive_timeout_s": 0.3}
    async with scene(tmp_path, listen=settings) as running:
        client = await running.client()
        await client.send(request_bytes("POST", CANCEL, body=b'{"requestId": "r1"}'))
        assert (await client.answer()).status == 202
        assert await client.rest() == b""


async def test_a_slow_upstream_is_not_a_slow_head(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"head_timeout_s": 0.05}, upstream={"response_timeout_s": 0.2}) as running:
        client = await running.client()
        await client.get()
        await running.upstream.request()
        assert (await client.answer()).status == 504


async def test_connect_opens_no_tunnel(running: Scene) -> None:
    client = await running.client()
    await client.send(b"CONNECT app.example:443 HTTP/1.1\r\nHost: app.example:443\r\n\r\n")
    peer, request = await running.upstream.request()
    assert request.start == b"CONNECT app.example:443 HTTP/1.1"
    await peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")
    assert (await client.answer()).status == 502
    await peer.gone()
