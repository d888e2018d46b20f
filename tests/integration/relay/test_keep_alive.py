"""Connections outlive their requests, on either side, as long as nothing speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.upstream.pool import UpstreamPool
from tests.fakes.downstream import request_bytes
from tests.fakes.scene import scene

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.upstream.connection import UpstreamConnection
    from tests.fakes.scene import Scene


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def test_both_connections_are_used_again(running: Scene) -> None:
    client = await running.client()
    peer = None
    for number in range(3):
        await client.get(f"/{number}")
        peer = peer or await running.upstream.take()
        assert (await peer.request()).target == b"/%d" % number
        await peer.send(ok(b"%d" % number))
        assert (await client.answer()).body == b"%d" % number
    assert running.upstream.nobody_came()


async def test_pipelined_requests_are_answered_in_order(running: Scene) -> None:
    client = await running.client()
    count = 40
    await client.send(b"".join(request_bytes("POST", f"/{number}", body=b"%d" % number) for number in range(count)))
    peer = await running.upstream.take()
    for number in range(count):
        request = await peer.request()
        assert (request.target, request.body) == (b"/%d" % number, b"%d" % number)
        assert peer.nothing_came()
        await peer.send(ok(b"%d" % number))
        assert (await client.answer()).body == b"%d" % number


async def test_a_client_that_asks_for_close_gets_it(running: Scene) -> None:
    client = await running.client()
    await client.get("/", "Connection: close")
    peer, _ = await running.upstream.request()
    await peer.send(ok(b"hi"))
    answer = await client.answer()
    assert (answer.body, answer.get("Connection")) == (b"hi", b"close")
    assert await client.rest() == b""


async def test_an_idle_upstream_that_closed_is_not_asked(running: Scene) -> None:
    client = await running.client()
    await client.get()
    peer, _ = await running.upstream.request()
    await peer.send(ok(b"one"))
    assert (await client.answer()).body == b"one"
    peer.close()
    await client.get()
    peer, _ = await running.upstream.request()
    await peer.send(ok(b"two"))
    assert (await client.answer()).body == b"two"


async def test_two_clients_do_not_wait_for_each_other(running: Scene) -> None:
    first, second = await running.client(), await running.client()
    await first.get("/first")
    slow, _ = await running.upstream.request()
    await second.get("/second")
    quick, request = await running.upstream.request()
    assert request.target == b"/second"
    await quick.send(ok(b"second"))
    assert (await second.answer()).body == b"second"
    await slow.send(ok(b"first"))
    assert (await first.answer()).body == b"first"


async def test_a_connection_that_is_idle_for_too_long_is_closed(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"keepalive_timeout_s": 0.05}) as running:
        client = await running.client()
        await client.get()
        peer, _ = await running.upstream.request()
        await peer.send(ok(b"hi"))
        assert (await client.answer()).body == b"hi"
        assert await client.rest() == b""


async def test_a_unix_socket(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    async with scene(tmp_path, listen={"address": address}) as running:
        assert running.sidecar.url == address
        client = await running.client()
        await client.get("/over/unix")
        peer, request = await running.upstream.request()
        assert request.target == b"/over/unix"
        assert request.get("X-Forwarded-Proto") == b"http"
        await peer.send(ok(b"hi"))
        assert (await client.answer()).body == b"hi"
        await client.get("/again")
        await peer.request()
        client.close()
        await peer.gone()
        line = await running.exchange_line(1)
        assert (line["status"], line["cause"]) == (499, "closed")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_that_closes_under_a_request_costs_the_client_nothing(
    running: Scene, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The upstream closes it just after it was found open, and so never hears the request: it is sent once more."""
    client = await running.client()
    await client.get("/first")
    peer = await running.upstream.take()
    await peer.request()
    await peer.send(ok(b"1"))
    await client.answer()
    check_out = UpstreamPool.check_out

    def closed_too_late(pool: UpstreamPool, *, repeatable: bool) -> UpstreamConnection | None:
        connection = check_out(pool, repeatable=repeatable)
        peer.close()
        return connection

    monkeypatch.setattr(UpstreamPool, "check_out", closed_too_late)

    await client.send(request_bytes(method, "/second", body=b"once" if method == "POST" else None))
    _, request = await running.upstream.request()
    assert (request.target, request.body) == (b"/second", b"once" if method == "POST" else b"")
    await running.upstream.taken[-1].send(ok(b"2"))
    assert (await client.answer()).body == b"2"


@pytest.mark.parametrize("rest", [b"", b"GET /evil HTTP/1.1\r\nHost: app.example\r\n\r\n"])
async def test_the_rest_of_a_body_is_never_taken_for_a_request(running: Scene, rest: bytes) -> None:
    """The upstream may answer, and end its answer, before the upload has ended."""
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Content-Length: 10000"), b"begun")
    peer = await running.upstream.take()
    await peer.head()
    await peer.send(ok(b"no"))
    assert (await client.answer()).body == b"no"
    await client.send(rest)
    assert await client.rest() == b""
    client.close()
    await running.upstream_is_left_alone()
