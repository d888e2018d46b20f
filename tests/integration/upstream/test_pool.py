"""The pool against real listeners: which connection is handed out, which is dropped, and how a failure reads."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from sidecar.errors import UpstreamProtocolError, UpstreamTimeoutError, UpstreamUnreachableError
from sidecar.upstream.sockets import Probe
from tests.integration.upstream.scripted import ANSWER, Peer, Recorder, ask, echo, pool_at, pool_for, scripted, until

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_the_most_recently_used_comes_first_and_fresh_is_always_new() -> None:
    async with scripted(echo) as port, pool_for(port) as pool:
        first, second = await pool.connect(fresh=False), await pool.connect(fresh=False)
        assert first is not second
        await ask(first).end()
        await ask(second).end()
        fresh = await pool.connect(fresh=True)
        assert fresh not in {first, second}
        assert not fresh.reused
        assert await pool.connect(fresh=False) is second
        assert await pool.connect(fresh=False) is first
        assert pool.idle_count == 0
        for connection in (first, second, fresh):
            connection.abort()


async def test_a_retired_one_serves_and_keeps_nothing() -> None:
    async with scripted(echo) as port, pool_for(port) as pool:
        used, idle = await pool.connect(fresh=True), await pool.connect(fresh=True)
        await ask(idle).end()
        pool.retire()
        assert pool.idle_count == 0
        await ask(used).end()
        last = await pool.connect(fresh=False)
        assert not last.reused
        await ask(last).end()
        assert pool.idle_count == 0


async def test_a_close_that_the_loop_has_not_seen_is_seen_at_check_out() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        async with pool_for(listener.getsockname()[1]) as pool:
            stale = await pool.connect(fresh=True)
            peer, _address = await loop.sock_accept(listener)
            recorder = ask(stale)
            await loop.sock_recv(peer, 65536)
            await loop.sock_sendall(peer, ANSWER)
            await recorder.end()
            assert pool.idle_count == 1
            peer.close()
            assert pool.idle_count == 1  # the loop had no turn yet
            assert pool.check_out(repeatable=True) is stale  # which it may be: nothing that is sent would be heard
            pool.keep(stale)
            connection = await pool.connect(fresh=False)
            assert connection is not stale
            assert not connection.reused
            connection.abort()


def leave_by_fin(peer: socket.socket) -> None:
    peer.close()


def leave_by_reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


@pytest.mark.parametrize("leave", [leave_by_fin, leave_by_reset])
@pytest.mark.parametrize("taken", [0, 1, 65_536])
async def test_a_request_that_a_kept_connection_did_not_take_is_known(
    taken: int, leave: Callable[[socket.socket], None]
) -> None:
    """Who reads and dies with a reset has acknowledged nothing, and yet heard it: that must not pass for unheard."""
    loop = asyncio.get_running_loop()
    seen: list[bool] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        async with pool_for(listener.getsockname()[1]) as pool:
            connection = await pool.connect(fresh=True)
            peer, _address = await loop.sock_accept(listener)
            first = ask(connection)
            await loop.sock_recv(peer, 65536)
            await loop.sock_sendall(peer, ANSWER)
            await first.end()
            assert await pool.connect(fresh=False) is connection
            if not taken:
                leave(peer)  # in the very moment after check-out
            second = ask(connection)
            second.on_failed = lambda: seen.append(connection.unheard)
            if taken:
                await loop.sock_recv(peer, taken)
                leave(peer)
            error = await second.end()
            assert isinstance(error, UpstreamProtocolError)
            assert seen == [not taken]


async def test_behind_an_answer_without_a_body_one_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are upstreams that send a body all the same: it would be the answer to the next question."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        assert await ask(connection).end() is None
        assert pool.check_out_as_new() is None
        monkeypatch.setattr(Probe, "is_quiet", False)  # as if the rest had come
        assert pool.check_out(repeatable=True) is None


async def test_one_that_is_merely_silent_does_not_pass_for_unheard() -> None:
    """What waits in the kernel goes out when the window opens, also behind a close."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER)
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        assert await ask(connection).end() is None
        assert await pool.connect(fresh=False) is connection
        connection.begin(Recorder(), method="GET")  # and not a byte has left
        assert not connection.unheard
        connection.abort()
        assert connection.unheard


async def test_a_close_of_an_idle_connection_is_noticed() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER)
        peer.close()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        await ask(connection).end()
        await until(lambda: pool.idle_count == 0)
        assert not connection.reuse(look=True)


async def test_idle_connections_expire() -> None:
    closed = 0

    async def script(peer: Peer) -> None:
        nonlocal closed
        await echo(peer)
        closed += 1

    async with scripted(script) as port, pool_for(port, idle_expiry_s=0.05) as pool:
        connections = [await pool.connect(fresh=True) for _ in range(3)]
        for connection in connections:
            await ask(connection).end()
        assert pool.idle_count == 3
        await until(lambda: closed == 3)
        assert pool.idle_count == 0
        await ask(await pool.connect(fresh=False)).end()
        await until(lambda: closed == 4)  # the sweep goes on after it had nothing to do


async def test_no_more_than_so_many_are_kept() -> None:
    async with scripted(echo) as port, pool_for(port, idle_max=2) as pool:
        connections = [await pool.connect(fresh=True) for _ in range(3)]
        for connection in connections:
            await ask(connection).end()
        assert pool.idle_count == 2
        await connections[0].wait_lost()
        assert await pool.connect(fresh=False) is connections[2]
        connections[2].abort()


async def test_a_closed_pool_keeps_nothing_and_connects_no_more() -> None:
    async with scripted(echo) as port, pool_for(port) as pool:
        idle, busy = await pool.connect(fresh=True), await pool.connect(fresh=True)
        await ask(idle).end()
        await pool.close()
        await pool.close()
        assert pool.idle_count == 0
        recorder = ask(busy)
        assert await recorder.end() is None
        assert pool.idle_count == 0
        await busy.wait_lost()
        with pytest.raises(UpstreamUnreachableError):
            await pool.connect(fresh=False)


async def test_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for name in ("127.0.0.1", "localhost"):
        async with pool_for(port, name=name) as pool:
            with pytest.raises(UpstreamUnreachableError, match="refused") as raised:
                await pool.connect(fresh=False)
            assert str(raised.value) == f"cannot connect to {name}:{port}: Connection refused"


async def test_all_addresses_of_a_name_are_tried() -> None:
    async with scripted(echo) as port, pool_for(port, name="localhost") as pool:  # it listens on 127.0.0.1 alone
        assert await ask(await pool.connect(fresh=False)).end() is None


async def test_a_name_too_odd_to_look_up() -> None:
    async with pool_for(80, name="x" * 64 + ".invalid") as pool:
        with pytest.raises(UpstreamUnreachableError, match="cannot connect to x"):
            await pool.connect(fresh=False)


async def test_a_connection_that_takes_too_long() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())  # fills the backlog; the kernel then answers nobody
        try:
            async with pool_for(listener.getsockname()[1], connect_timeout_s=0.1) as pool:
                with pytest.raises(UpstreamTimeoutError, match=r"within 0\.1 s"):
                    await pool.connect(fresh=False)
        finally:
            for one in crowd:
                one.close()


async def test_leaving_while_connecting_leaves_nothing_behind() -> None:
    async with scripted(echo) as port, pool_for(port) as pool:
        for steps in range(6):
            connecting = asyncio.ensure_future(pool.connect(fresh=True))
            for _ in range(steps):
                await asyncio.sleep(0)
            connecting.cancel()
            done = (await asyncio.gather(connecting, return_exceptions=True))[0]
            if not isinstance(done, BaseException):
                done.abort()
        assert pool.idle_count == 0


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://127.0.0.1:9000", b"127.0.0.1:9000"),
        ("http://Backend.example", b"backend.example"),
        ("https://backend.example:443", b"backend.example"),
        ("https://backend.example:80", b"backend.example:80"),
        ("http://[::1]:9000", b"[::1]:9000"),
        ("unix:/run/backend.sock", b"localhost"),
    ],
)
async def test_the_authority_as_a_host_field_carries_it(url: str, host: bytes) -> None:
    async with pool_at(url) as pool:
        assert pool.host == host
