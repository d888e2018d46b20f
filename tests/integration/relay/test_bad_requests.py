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
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
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


REFUSED = {
    "coding unknown": (501, b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "coding before chunked": (
        501,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    "chunked twice in one": (
        501,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    "connect": (501, b"CONNECT app.example:443 HTTP/1.1\r\nHost: app.example:443\r\n\r\n"),
    "long target": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "long target, no end": (414, b"GET /" + b"a" * 9000),
    "long field": (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n"),
    "many fields": (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 200 + b"\r\n"),
    "head without end": (431, b"GET / HTTP/1.1\r\n" + HOST + (b"X: " + b"a" * 8000 + b"\r\n") * 9),
    "coding comes twice": (
        400,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    ),
    "coding on 1.0": (400, b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "length repeated alike": (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi"),
    "length listed": (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2, 2\r\n\r\nhi"),
    "length signed": (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +2\r\n\r\nhi"),
    "length empty": (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: \r\n\r\n"),
    "length huge": (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n"),
    "length hexadecimal": (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x2\r\n\r\nhi"),
    "version 0.9": (400, b"GET / HTTP/0.9\r\n" + HOST + b"\r\n"),
    "version 2.0": (400, b"GET / HTTP/2.0\r\n" + HOST + b"\r\n"),
    "version 1.2": (400, b"GET / HTTP/1.2\r\n" + HOST + b"\r\n"),
    "version in small letters": (400, b"GET / http/1.1\r\n" + HOST + b"\r\n"),
    "no version": (400, b"GET /\r\n\r\n"),
    "http/2 preface": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "empty host": (400, b"GET / HTTP/1.1\r\nHost: \r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n"),
    "two hosts on 1.0": (400, b"GET / HTTP/1.0\r\n" + HOST + HOST + b"\r\n"),
    "host with user": (400, b"GET / HTTP/1.1\r\nHost: me@app.example\r\n\r\n"),
    "host with path": (400, b"GET / HTTP/1.1\r\nHost: app.example/x\r\n\r\n"),
    "host listed": (400, b"GET / HTTP/1.1\r\nHost: app.example, other\r\n\r\n"),
    "host with odd port": (400, b"GET / HTTP/1.1\r\nHost: app.example:http\r\n\r\n"),
    "absolute, other host": (400, b"GET http://other.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    "absolute, other port": (400, b"GET http://app.example:81/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    "absolute, other scheme": (400, b"GET ftp://app.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    "absolute, with user": (400, b"GET http://me@app.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    "target relative": (400, b"GET x HTTP/1.1\r\n" + HOST + b"\r\n"),
    "target with fragment": (400, b"GET /x#y HTTP/1.1\r\n" + HOST + b"\r\n"),
    "target with space": (400, b"GET /x y HTTP/1.1\r\n" + HOST + b"\r\n"),
    "target with tab": (400, b"GET /x\ty HTTP/1.1\r\n" + HOST + b"\r\n"),
    "asterisk but for OPTIONS": (400, b"GET * HTTP/1.1\r\n" + HOST + b"\r\n"),
    "method is no token": (400, b"G[T / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "space before the line": (400, b" GET / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "space behind the line": (400, b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n"),
    "space before the colon": (400, b"GET / HTTP/1.1\r\nHost : app.example\r\n\r\n"),
    "first field folded": (400, b"GET / HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n"),
    "field folded by tab": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n\tb\r\n\r\n"),
    "no colon": (400, b"GET / HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n"),
    "no name": (400, b"GET / HTTP/1.1\r\n" + HOST + b": a\r\n\r\n"),
    "name is no token": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X(a): b\r\n\r\n"),
    "bare CR in a value": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n"),
    "bare LF in a value": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\nY: b\r\n\r\n"),
    "bare LF, no end": (400, b"GET / HTTP/1.1\n"),
    "vertical tab": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x0bb\r\n\r\n"),
    "delete": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x7fb\r\n\r\n"),
    "NUL in the name": (400, b"GET / HTTP/1.1\r\n" + HOST + b"X\x00: a\r\n\r\n"),
    "many empty lines": (400, b"\r\n" * 20 + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "chunk size empty": (400, b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n\r\n"),
    "chunk size signed": (400, b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n"),
    "chunk size 0x": (400, b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n"),
    "chunk size huge": (
        400,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n",
    ),
    "chunk size padded": (
        400,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
    ),
    "chunk size beyond 63 bits": (
        400,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n8" + b"0" * 15 + b"\r\n",
    ),
    "trailer without colon": (
        400,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
    ),
    "trailer folded": (
        400,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n b\r\n\r\n",
    ),
    "trailer that would be believed": (
        400,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nx-forwarded-FOR: me\r\n\r\n",
    ),
    "trailer that frames": (
        400,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
    ),
    "chunk ended by LF": (400, b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n"),
    "chunk longer than said": (400, b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"),
}


@pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_others_could_understand_otherwise_is_refused(running: Scene, status: int, request_: bytes) -> None:
    client = await running.client()
    await client.send(request_)
    answer = await client.answer()
    assert (answer.status, answer.get("Connection")) == (status, b"close")
    await client.gone()
    await running.upstream_is_left_alone()


TAKEN = {
    "odd method": b"M-SEARCH /x HTTP/1.1\r\n" + HOST + b"\r\n",
    "method of letters nobody knows": b"FROBNICATE /x HTTP/1.1\r\n" + HOST + b"\r\n",
    "method in small letters": b"get /x HTTP/1.1\r\n" + HOST + b"\r\n",
    "empty lines before": b"\r\n\r\nGET /x HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute": b"GET http://APP.example:80/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "double slash": b"GET //x//y HTTP/1.1\r\n" + HOST + b"\r\n",
    "encoded dots": b"GET /%2e%2E/x;y=z HTTP/1.1\r\n" + HOST + b"\r\n",
    "ill-encoded": b"GET /%zz%? HTTP/1.1\r\n" + HOST + b"\r\n",
    "empty query": b"GET /x? HTTP/1.1\r\n" + HOST + b"\r\n",
    "dot segments": b"GET /a/../b/./c HTTP/1.1\r\n" + HOST + b"\r\n",
    "bytes": b"GET /caf\xc3\xa9\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "host is an address": b"GET /x HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
}


@pytest.mark.parametrize("request_", TAKEN.values(), ids=TAKEN.keys())
async def test_what_is_merely_odd_passes_untouched(running: Scene, request_: bytes) -> None:
    client = await running.client()
    await client.send(request_)
    peer, came = await running.upstream.request()
    assert came.start == request_.lstrip(b"\r\n").partition(b"\r\n")[0]
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert (await client.answer()).body == b"hi"
