"""Opens connections to the upstream: its name is looked up for each, and its addresses race (RFC 8305).

    name --look up--> addresses, families in turn --0.25 s apart--> the first that connects; the others are dropped

So a name that changes is followed, and a dead first address costs a quarter of a second. By hand, because uvloop tries
addresses one by one. A Unix socket has neither name nor rivals.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Final

from sidecar.config import TcpAddress, UnixAddress
from sidecar.config.urls import address_of, is_https
from sidecar.upstream.tls import client_tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from sidecar.config import Upstream
    from sidecar.upstream.connection import UpstreamConnection

    Make = Callable[[], UpstreamConnection]
    LookUp = Callable[[str, int], Awaitable[Sequence[tuple[Any, ...]]]]

STAGGER_S: Final = 0.25
ADDRESSES_MAX: Final = 16


class Dialer:
    """Opens connections to `upstream.url`. `look_up` is getaddrinfo, by default the event loop's.

    `section` is where the TLS settings stand, for what is wrong with them.
    """

    def __init__(self, settings: Upstream, look_up: LookUp | None = None, *, section: str = "upstream.tls") -> None:
        self.address: Final = address_of(settings.url)
        self._look_up = look_up or _look_up
        self._tls: ssl.SSLContext | None = None
        self._server_name: str | None = None
        if isinstance(self.address, TcpAddress) and is_https(settings.url):
            self._tls = client_tls(settings.tls, section)
            self._server_name = settings.tls.server_name or self.address.host

    async def dial(self, make: Make) -> UpstreamConnection:
        """Give a connection that `make` has made. Raises OSError; UnicodeError for a name that cannot be looked up."""
        if isinstance(self.address, UnixAddress):
            _, connection = await asyncio.get_running_loop().create_unix_connection(make, self.address.path)
            return connection
        hosts = await self._addresses(self.address)
        if len(hosts) == 1:
            return await self._connect(make, hosts[0], self.address.port)
        return await self._race(make, hosts, self.address.port)

    async def _addresses(self, address: TcpAddress) -> list[str]:
        if _is_numeric(address.host):
            return [address.host]
        found = await self._look_up(address.host, address.port)
        hosts = _in_turn((family, str(at[0])) for family, _, _, _, at in found)[:ADDRESSES_MAX]
        if not hosts:
            raise socket.gaierror(socket.EAI_NONAME, "it has no address")
        return hosts

    async def _connect(self, make: Make, host: str, port: int) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        if self._tls is None:
            _, connection = await loop.create_connection(make, host, port)
        else:
            _, connection = await loop.create_connection(
                make, host, port, ssl=self._tls, server_hostname=self._server_name
            )
        return connection

    async def _race(self, make: Make, hosts: list[str], port: int) -> UpstreamConnection:
        """Give the first that connects; a further address is tried when another has failed, or is late."""
        left, failures = deque(hosts), list[BaseException]()
        runners: set[asyncio.Task[UpstreamConnection]] = set()
        try:
            while left or runners:
                if left:
                    runners.add(asyncio.create_task(self._connect(make, left.popleft(), port)))
                late_s = STAGGER_S if left else None
                done, _ = await asyncio.wait(runners, timeout=late_s, return_when=asyncio.FIRST_COMPLETED)
                for runner in done:
                    runners.discard(runner)
                    if (failure := runner.exception()) is None:
                        runners |= done - {runner}
                        return runner.result()
                    failures.append(failure)
        finally:
            await _drop(runners)
        raise _joined(failures)


async def _drop(runners: set[asyncio.Task[UpstreamConnection]]) -> None:
    """End those that have not won."""
    for runner in runners:
        runner.cancel()
    for ended in await asyncio.gather(*runners, return_exceptions=True):
        if not isinstance(ended, BaseException):
            ended.abort()


def _joined(failures: list[BaseException]) -> BaseException:
    """Make one failure of those of several addresses: the same once, else all of them, in one line."""
    texts = list(dict.fromkeys(map(str, failures)))
    numbers = {failure.errno for failure in failures if isinstance(failure, OSError)}
    return failures[0] if len(texts) == 1 or len(numbers) == 1 else OSError("; ".join(texts))


def _in_turn(found: Iterable[tuple[int, str]]) -> list[str]:
    """Order addresses as they were found, but let families take turns (RFC 8305, 4)."""
    families: dict[int, dict[str, None]] = {}
    for family, host in found:
        families.setdefault(family, {})[host] = None
    rounds = zip_longest(*families.values())
    return [host for host in chain.from_iterable(rounds) if host is not None]


async def _look_up(name: str, port: int) -> Sequence[tuple[Any, ...]]:
    return await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)


def _is_numeric(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
