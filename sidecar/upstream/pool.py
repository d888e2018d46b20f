"""The upstream's connections: opened when needed, kept for a while when idle, the most recently used first.

An idle connection is handed out only if the kernel knows of nothing against it. The upstream may still close it in the
very moment of the next request: whoever must not be refused for that asks for one that is as good as new, or for a
fresh one. There are never more than `connections_max`; one too many waits in line, and an idle one is closed for
whoever needs one of its own.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Final

from sidecar.config import UnixAddress
from sidecar.config.urls import DEFAULT_PORTS, is_https
from sidecar.errors import UpstreamBusyError, UpstreamTimeoutError, UpstreamUnreachableError
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.dial import Dialer
from sidecar.upstream.places import Places
from sidecar.upstream.silence import Silences
from sidecar.upstream.unreachable import why_unreachable

if TYPE_CHECKING:
    from sidecar.config import Address, Upstream
    from sidecar.upstream.dial import LookUp

LATELY_S: Final = 0.1
"""Within that time, no upstream gives up a connection for being idle."""

_SHUTTING_DOWN: Final = "the sidecar is shutting down"
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class UpstreamPool:
    """Connections to `upstream.url`; `look_up` is getaddrinfo, if not the event loop's. Raises ConfigError for TLS."""

    def __init__(self, settings: Upstream, *, look_up: LookUp | None = None, section: str = "upstream.tls") -> None:
        self._settings = settings
        self._loop = loop = asyncio.get_running_loop()
        self.silences = Silences(loop, min(settings.response_timeout_s, settings.idle_timeout_s))
        self._dialer = Dialer(settings, look_up, section=section)
        self.host = _authority(settings, self._dialer.address)
        """The upstream's authority as a Host field carries it, for requests that bring none (HTTP/1.0)."""
        self._places = Places[UpstreamConnection](settings.connections_max, self.keep)
        self._open_ones: set[UpstreamConnection] = set()  # each has a place
        self._idle: dict[UpstreamConnection, float] = {}  # since when; the oldest first
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._keeps = settings.idle_max > 0

    @property
    def idle_count(self) -> int:
        """How many connections are kept."""
        return len(self._idle)

    @property
    def open_count(self) -> int:
        """How many connections are open or being opened, those that are kept included."""
        return self._places.taken

    @property
    def waiting_count(self) -> int:
        """How many requests wait for one."""
        return self._places.waiting

    async def connect(self, *, fresh: bool, gone: asyncio.Future[None] | None = None) -> UpstreamConnection:
        """Give a connection to begin one request on; a new one where `fresh`, or where no idle one is good.

        Whoever waits in line leaves it when `gone` is done, by DownstreamGoneError. Raises UpstreamBusyError where none
        was free within `queue_timeout_s` or the system has no more to give, UpstreamUnreachableError where none can be
        made, UpstreamTimeoutError after `connect_timeout_s`.
        """
        while not self._closed:
            kept = None if fresh else self.check_out(repeatable=False)
            if kept is not None:
                return kept
            if not self._places.take():
                self._drop_oldest()
                kept = await self._places.wait(self._settings.queue_timeout_s, takes_kept=not fresh, gone=gone)
            if kept is None:
                return await self._open()
            if kept.reuse(look=True):
                return kept
            kept.abort()
        raise UpstreamUnreachableError(_SHUTTING_DOWN)

    def retire(self) -> None:
        """Keep no connection from now on: another pool is asked in its place, by all but those who began with this."""
        self._keeps = False
        self._end_sweep()
        self._drop_idle()

    async def close(self) -> None:
        """Drop the idle connections, and keep none from now on. Those in use are their users' to end."""
        self._closed = True
        self._end_sweep()
        self._places.send_away(UpstreamUnreachableError(_SHUTTING_DOWN))
        idle = list(self._idle)
        self._drop_idle()
        for connection in idle:
            await connection.wait_lost()

    def check_out(self, *, repeatable: bool) -> UpstreamConnection | None:
        """Give an idle connection that is good, without a wait; None where there is none.

        For a request that can be sent again, one that was in use a moment ago is good.
        """
        now = self._loop.time()
        while self._idle:
            connection, since = self._idle.popitem()
            if connection.reuse(look=not repeatable or now - since > LATELY_S):
                return connection
            connection.abort()
        return None

    def check_out_as_new(self) -> UpstreamConnection | None:
        """Give an idle connection that is no worse than a new one, without a wait; None where there is none.

        It was in use a moment ago, is quiet, and will tell whether it was heard; so a request can be sent again.
        """
        while self._idle:
            connection, since = self._idle.popitem()
            lately = self._loop.time() - since <= LATELY_S
            if lately and not connection.reuse(look=True):
                connection.abort()
            elif lately and connection.as_good_as_new:
                return connection
            else:
                self._idle[connection] = since
                return None
        return None

    async def _open(self) -> UpstreamConnection:
        """Open a connection, for which a place was taken."""
        try:
            connection = await self._dial()
        except BaseException:
            self._places.give_back()
            raise
        if connection.is_lost:
            self._places.give_back()
        else:
            self._open_ones.add(connection)
        return connection

    async def _dial(self) -> UpstreamConnection:
        where, limit_s = self._dialer.address, self._settings.connect_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await self._dialer.dial(self._make)
        except TimeoutError:
            raise UpstreamTimeoutError(f"no connection to {where} within {limit_s:g} s") from None
        except (OSError, UnicodeError) as error:  # a name may be too odd even to be looked up
            why = f"cannot connect to {where}: {why_unreachable(error)}"
            if isinstance(error, OSError) and error.errno in _EXHAUSTED:
                self._drop_idle()
                raise UpstreamBusyError(why) from None
            raise UpstreamUnreachableError(why) from None

    def _make(self) -> UpstreamConnection:
        return UpstreamConnection(self._settings, self)

    def keep(self, connection: UpstreamConnection) -> None:
        """Take a connection back: for the first in line, or for later."""
        if self._closed or not self._keeps:
            connection.abort()
        elif self._places.waiting:
            if not self._places.hand_over(connection):
                connection.abort()
        else:
            if len(self._idle) >= self._settings.idle_max:
                self._drop_oldest()
            self._idle[connection] = self._loop.time()
            if self._sweep is None:
                self._sweep_in(self._settings.idle_expiry_s)

    def _drop_oldest(self) -> None:
        if self._idle:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.abort()

    def _drop_idle(self) -> None:
        while self._idle:
            self._drop_oldest()

    def forget(self, connection: UpstreamConnection) -> None:
        """Let a connection go that is closed."""
        self._idle.pop(connection, None)
        if connection in self._open_ones:
            self._open_ones.remove(connection)
            self._places.give_back()

    def _end_sweep(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _sweep_in(self, delay_s: float) -> None:
        self._sweep = self._loop.call_later(delay_s, self._drop_expired)

    def _drop_expired(self) -> None:
        self._sweep = None
        now, expiry_s = self._loop.time(), self._settings.idle_expiry_s
        for connection, since in list(self._idle.items()):
            if since + expiry_s > now:
                self._sweep_in(since + expiry_s - now)
                return
            del self._idle[connection]
            connection.abort()


def _authority(settings: Upstream, address: Address) -> bytes:
    if isinstance(address, UnixAddress):
        return b"localhost"
    default = DEFAULT_PORTS["https" if is_https(settings.url) else "http"]
    host = f"[{address.host}]" if ":" in address.host else address.host
    return (host if address.port == default else f"{host}:{address.port}").encode()
