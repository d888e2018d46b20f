"""The upstream's connections: opened when needed, kept for a while when idle, the most recently used first.

An idle connection is handed out only if the kernel knows of nothing against it. The upstream may still close it in the
very moment of the next request: whoever must not be refused for that asks for a fresh one.
"""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from sidecar.errors import UpstreamTimeoutError, UpstreamUnreachableError
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.unreachable import why_unreachable

if TYPE_CHECKING:
    from sidecar.config import Upstream

IDLE_S: Final = 30.0
IDLE_MAX: Final = 128

_HAPPY_EYEBALLS_DELAY_S: Final = 0.25
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class UpstreamPool:
    """Connections to `upstream.url`."""

    def __init__(self, settings: Upstream) -> None:
        url = urlsplit(settings.url)
        self.host = _authority(url)
        """The upstream's authority as a Host field carries it, for requests that bring none (HTTP/1.0)."""
        self._settings = settings
        self._name = url.hostname or ""
        self._port = url.port or _DEFAULT_PORTS[url.scheme]
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._idle: dict[UpstreamConnection, float] = {}  # since when; the oldest first
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def idle_count(self) -> int:
        """How many connections are kept."""
        return len(self._idle)

    async def connect(self, *, fresh: bool) -> UpstreamConnection:
        """Give a connection to begin one request on; a new one where `fresh`, or where no idle one is good.

        Raises UpstreamUnreachableError where none can be made, UpstreamTimeoutError after `connect_timeout_s`.
        """
        kept = None if fresh else self.check_out()
        return kept or await self._open()

    async def close(self) -> None:
        """Drop the idle connections, and keep none from now on. Those in use are their users' to end."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        idle = list(self._idle)
        self._idle.clear()
        for connection in idle:
            connection.abort()
        for connection in idle:
            await connection.wait_lost()

    def check_out(self) -> UpstreamConnection | None:
        """Give an idle connection that is good, without a wait; None where there is none."""
        while self._idle:
            connection, _since = self._idle.popitem()
            if connection.is_quiet:
                connection.reused = True
                return connection
            connection.abort()
        return None

    async def _open(self) -> UpstreamConnection:
        if self._closed:
            raise UpstreamUnreachableError("the sidecar is shutting down")
        where = f"{self._name}:{self._port}"
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                return await self._dial()
        except TimeoutError:
            raise UpstreamTimeoutError(
                f"no connection to {where} within {self._settings.connect_timeout_s:g} s"
            ) from None
        except (OSError, UnicodeError) as error:  # a name may be too odd even to be looked up
            raise UpstreamUnreachableError(f"cannot connect to {where}: {why_unreachable(error)}") from None

    async def _dial(self) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"ssl": self._tls}
        if isinstance(loop, asyncio.BaseEventLoop) and not _is_address(self._name):
            options["happy_eyeballs_delay"] = _HAPPY_EYEBALLS_DELAY_S  # uvloop tries the addresses one by one
        _transport, connection = await loop.create_connection(self._make, self._name, self._port, **options)
        return connection

    def _make(self) -> UpstreamConnection:
        return UpstreamConnection(self._settings, on_idle=self._keep, on_lost=self._forget)

    def _keep(self, connection: UpstreamConnection) -> None:
        if self._closed:
            connection.abort()
            return
        if len(self._idle) >= IDLE_MAX:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.abort()
        self._idle[connection] = asyncio.get_running_loop().time()
        if self._sweep is None:
            self._sweep_in(IDLE_S)

    def _forget(self, connection: UpstreamConnection) -> None:
        self._idle.pop(connection, None)

    def _sweep_in(self, delay_s: float) -> None:
        self._sweep = asyncio.get_running_loop().call_later(delay_s, self._drop_expired)

    def _drop_expired(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        for connection, since in list(self._idle.items()):
            if since + IDLE_S > now:
                self._sweep_in(since + IDLE_S - now)
                return
            del self._idle[connection]
            connection.abort()


def _authority(url: SplitResult) -> bytes:
    name = url.hostname or ""
    host = f"[{name}]" if ":" in name else name
    port = "" if url.port in {None, _DEFAULT_PORTS[url.scheme]} else f":{url.port}"
    return f"{host}{port}".encode("idna" if not name.isascii() else "ascii")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
