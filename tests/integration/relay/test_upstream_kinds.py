"""A whole sidecar in front of an upstream over TLS, at a Unix socket, or with few connections to give."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.fakes.authority import Authority
from tests.fakes.scene import scene
from tests.fakes.waiting import DEADLINE_S, eventually
from tests.integration.upstream.scripted import Peer, scripted, scripted_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.scene import Section

    Kind = tuple[Section, "Backend"]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
TOLD = b'1f\r\n{"temp_conversation_id": "c1"}\n\r\n'


class Backend:
    """Begins an answer to each request, ends those of `/end`, and takes note of who goes away before."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.gone = asyncio.Event()

    async def script(self, peer: Peer) -> None:
        while True:
            try:
                self.heads.append(await peer.request())
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            await peer.send(HEAD, TOLD)
            if b" /end " not in self.heads[-1]:
                await peer.closed()
                self.gone.set()
                return
            await peer.send(b"0\r\n\r\n")


@pytest.fixture(params=["https", "unix"])
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kind]:
    """Give the settings of an upstream, and the upstream."""
    backend = Backend()
    if request.param == "unix":
        async with scripted_at(backend.script, tmp_path / "backend") as url:
            yield {"url": url}, backend
    else:
        authority = Authority(tmp_path)
        async with scripted(backend.script, tls=authority.server("localhost")) as port:
            yield {"url": f"https://localhost:{port}", "tls": {"ca": authority.file}}, backend


async def test_requests_are_relayed_on_one_connection(tmp_path: Path, kind: Kind) -> None:
    settings, backend = kind
    async with scene(tmp_path, upstream=settings) as running:
        client = await running.client()
        for _ in range(3):
            await client.get("/end")
            answer = await client.answer()
            assert answer.status == 200
            assert answer.raw == TOLD + b"0\r\n\r\n"
        assert len(backend.heads) == 3
        assert running.sidecar.edge.pool.idle_count == 1


async def test_who_leaves_is_seen_by_the_upstream_and_rolled_back(tmp_path: Path, kind: Kind) -> None:
    settings, backend = kind
    async with scene(tmp_path, upstream=settings) as running:
        client = await running.client()
        await client.chat("X-Request-Id: r1")
        await client.head()
        await client.chunk()
        client.reset()
        async with asyncio.timeout(DEADLINE_S):
            await backend.gone.wait()
        await running.turn_in("cancelled")
        assert running.admin.lines == ["POST /admin/requests/r1/cancel", "DELETE /admin/conversations/c1"]


async def test_one_request_too_many_is_told_to_come_again(tmp_path: Path) -> None:
    limits = {"connections_max": 1, "queue_timeout_s": 0}
    async with scene(tmp_path, upstream=limits) as running:
        first, second = await running.client(), await running.client()
        await first.get("/one")
        peer, _ = await running.upstream.request()
        await second.get("/two")
        answer = await second.answer()
        assert answer.status == 503
        assert answer.get("Retry-After") == b"1"
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert (await first.answer()).body == b"hi"
        await second.get("/three")
        assert (await peer.request()).target == b"/three"
        line = await running.exchange_line()
        assert line["error"] == "no connection was free within 0 s"


async def test_a_turn_that_finds_no_connection_owes_nothing(tmp_path: Path) -> None:
    limits = {"connections_max": 1, "queue_timeout_s": 0}
    async with scene(tmp_path, upstream=limits) as running:
        first, second = await running.client(), await running.client()
        await first.get("/one")
        await running.upstream.request()
        await second.chat("X-Request-Id: r1")
        assert (await second.answer()).status == 503
        await eventually(lambda: running.turns()[0]["state"] not in {"open", "cancelling"})
        assert running.admin.lines == []


async def test_one_who_waits_is_served_next(tmp_path: Path) -> None:
    async with scene(tmp_path, upstream={"connections_max": 1, "queue_timeout_s": 60}) as running:
        first, second = await running.client(), await running.client()
        await first.get("/one")
        peer, _ = await running.upstream.request()
        await second.get("/two")
        await eventually(lambda: running.sidecar.edge.pool.waiting_count == 1)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert (await first.answer()).body == b"hi"
        assert (await peer.request()).target == b"/two"


@pytest.mark.parametrize("chat", [False, True])
async def test_who_leaves_while_waiting_leaves_the_line(tmp_path: Path, *, chat: bool) -> None:
    async with scene(tmp_path, upstream={"connections_max": 1, "queue_timeout_s": 60}) as running:
        first, second = await running.client(), await running.client()
        await first.get("/one")
        peer, _ = await running.upstream.request()
        pool = running.sidecar.edge.pool
        await (second.chat("X-Request-Id: r1") if chat else second.get("/two"))
        await eventually(lambda: pool.waiting_count == 1)
        second.reset()
        await eventually(lambda: pool.waiting_count == 0)
        assert (await running.exchange_line())["status"] == 499
        if chat:
            await running.turn_in("cancelled")
            assert running.admin.lines == []  # nobody heard of it
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert (await first.answer()).body == b"hi"
        assert pool.idle_count == 1
