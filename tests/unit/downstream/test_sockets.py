"""What the kernel tells of a downstream socket: what is not acknowledged, and why a peer left. On both event loops."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, cast

import pytest
import uvloop

from sidecar.downstream.sockets import (
    NOTSENT_LOWAT_BYTES,
    error_cause,
    reset_on_close,
    tune,
    unacknowledged,
    unread,
)
from sidecar.turn.state import Cause
from tests.fakes.sockets import RawSocket
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Scene = Callable[[asyncio.Transport, RawSocket], Coroutine[object, object, None]]

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
BIG = b"x" * 16_000_000  # more than kernels take on a peer's behalf, whose buffers grow to 4 MB and over


def pair(family: socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return server.accept()[0], client


def play(new_loop: Callable[[], asyncio.AbstractEventLoop], family: socket.AddressFamily, scene: Scene) -> None:
    """Play a scene with a transport and its peer."""

    async def main() -> None:
        ours, theirs = pair(family)
        peer = RawSocket(theirs)
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        try:
            await scene(transport, peer)
        finally:
            transport.abort()
            peer.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@LOOPS
@FAMILIES
def test_what_the_peer_does_not_take_is_unacknowledged(
    new_loop: Callable[[], asyncio.AbstractEventLoop], family: socket.AddressFamily
) -> None:
    async def scene(transport: asyncio.Transport, peer: RawSocket) -> None:
        assert unacknowledged(transport) == 0
        transport.write(BIG)
        await eventually(lambda: 0 < transport.get_write_buffer_size() < len(BIG))
        assert transport.get_write_buffer_size() < unacknowledged(transport) <= 2 * len(BIG)
        await peer.exactly(len(BIG))
        await eventually(lambda: unacknowledged(transport) == 0)

    play(new_loop, family, scene)


@LOOPS
@FAMILIES
def test_what_has_come_and_was_not_read_is_seen(
    new_loop: Callable[[], asyncio.AbstractEventLoop], family: socket.AddressFamily
) -> None:
    async def scene(transport: asyncio.Transport, peer: RawSocket) -> None:
        transport.pause_reading()
        assert not unread(transport)
        await peer.send(b"x")
        await eventually(lambda: unread(transport))
        transport.resume_reading()
        await eventually(lambda: not unread(transport))

    play(new_loop, family, scene)


@LOOPS
@FAMILIES
def test_after_the_end_there_is_nothing_left_to_ask(
    new_loop: Callable[[], asyncio.AbstractEventLoop], family: socket.AddressFamily
) -> None:
    async def scene(transport: asyncio.Transport, peer: RawSocket) -> None:
        transport.abort()
        await peer.gone()
        assert unacknowledged(transport) == transport.get_write_buffer_size() == 0

    play(new_loop, family, scene)


def test_where_the_kernel_cannot_tell_the_buffer_counts() -> None:
    class NoSocket(asyncio.WriteTransport):
        def get_write_buffer_size(self) -> int:
            return 7

    assert unacknowledged(NoSocket()) == 7
    reset_on_close(NoSocket())


@LOOPS
@pytest.mark.parametrize("seen", [True, False])
def test_the_close_can_be_made_a_reset(new_loop: Callable[[], asyncio.AbstractEventLoop], *, seen: bool) -> None:
    async def scene(transport: asyncio.Transport, peer: RawSocket) -> None:
        transport.write(b"half an answer")
        await peer.exactly(14)
        if seen:
            reset_on_close(transport)
        transport.close()
        if seen:
            with pytest.raises(ConnectionResetError):
                await peer.rest()
        else:
            assert await peer.rest() == b""

    play(new_loop, socket.AF_INET, scene)


@LOOPS
def test_a_tcp_socket_is_set_up(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scene(transport: asyncio.Transport, peer: RawSocket) -> None:
        del peer
        tune(transport, write_timeout_s=1.5, buffer_bytes_max=65_536)
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        options = {socket.TCP_NODELAY: 1, socket.TCP_KEEPIDLE: 1, 25: NOTSENT_LOWAT_BYTES}
        assert {option: sock.getsockopt(socket.IPPROTO_TCP, option) for option in options} == options

    play(new_loop, socket.AF_INET, scene)


@LOOPS
def test_a_unix_socket_goes_without(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scene(transport: asyncio.Transport, peer: RawSocket) -> None:
        tune(transport, write_timeout_s=1.5, buffer_bytes_max=65_536)
        transport.write(b"x")
        assert await peer.exactly(1) == b"x"

    play(new_loop, socket.AF_UNIX, scene)


@LOOPS
def test_a_client_that_has_left_already_is_no_error(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scene(transport: asyncio.Transport, peer: RawSocket) -> None:
        peer.reset()
        tune(transport, write_timeout_s=1.5, buffer_bytes_max=65_536)

    play(new_loop, socket.AF_INET, scene)


def test_the_cause_of_a_reset() -> None:
    ours, theirs = pair(socket.AF_INET)
    RawSocket(theirs).reset()
    with ours:
        assert error_cause(ours) is Cause.RESET
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0  # asked once, it is forgotten
    assert error_cause(ours) is Cause.RESET  # closed: there is nothing left to ask


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ETIMEDOUT, Cause.VANISHED),
        (errno.EHOSTUNREACH, Cause.VANISHED),
        (errno.ENETUNREACH, Cause.VANISHED),
        (errno.ECONNRESET, Cause.RESET),
        (errno.EPIPE, Cause.RESET),
        (0, Cause.RESET),
    ],
)
def test_the_cause_by_the_pending_error(number: int, cause: Cause) -> None:
    class Pending:  # no peer on loopback can be made to vanish
        def getsockopt(self, _level: int, _option: int, size: int | None = None) -> int | bytes:
            return number if size is None else b"\x01\x00\x05"  # a struct tcp_info with five retransmits

        def fileno(self) -> int:
            return bystander.fileno()

    with socket.socket() as bystander:
        assert error_cause(cast("socket.socket", Pending())) is cause
