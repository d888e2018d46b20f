"""Where clients come in: the listeners, and over TLS the certificate that is shown there."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final

from sidecar.config import parse_address
from sidecar.host.listeners import BACKLOG, inherited, listen
from sidecar.host.tls import ServerTls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ssl import SSLContext

    from sidecar.config import Listen
    from sidecar.host.inherited import Inherited
    from sidecar.host.listeners import Listener

SHUTDOWN_S: Final = 5.0
"""How long a client may take to say goodbye, too, when its TLS connection is closed."""


class Doors:
    """The listeners, open from `open` to `close`."""

    def __init__(self, listeners: Iterable[Listener], tls: ServerTls | None = None) -> None:
        self._listeners = tuple(listeners)
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self.urls = tuple(listener.url for listener in self._listeners)

    @classmethod
    def at(cls, settings: Listen, handed_over: Inherited) -> Doors:
        """Listen where whoever started the process wants it, else by the settings. Raises OperatorError."""
        tls = ServerTls(settings.tls) if settings.tls else None
        scheme = "https" if tls else "http"
        if sockets := handed_over.for_clients():
            return cls(inherited(sockets, scheme=scheme), tls)
        address, mode = parse_address(settings.address), settings.unix_permissions
        return cls(listen(address, setting="listen.address", mode=mode, scheme=scheme), tls)

    async def open(self, factory: Callable[[], asyncio.Protocol], *, handshake_s: float = 60.0) -> None:
        """Have connections made of whoever comes; over TLS, of whoever has shaken hands within that time."""
        loop = asyncio.get_running_loop()
        tls: dict[str, object] = {}
        if self._tls is not None:
            context = self._tls.context
            tls = {"ssl": context, "ssl_handshake_timeout": handshake_s, "ssl_shutdown_timeout": SHUTDOWN_S}
        for listener in self._listeners:
            sock = listener.sock
            create: Any = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await create(factory, sock=sock, backlog=BACKLOG, **tls))

    def read_certificate(self, settings: Listen) -> SSLContext | None:
        """Read the certificate again, for `show`; None where there is no TLS. Raises ConfigError."""
        return ServerTls.load(settings.tls) if self._tls and settings.tls else None

    def show(self, certificate: SSLContext | None) -> None:
        """Show clients that come from now on another certificate."""
        if self._tls is not None and certificate is not None:
            self._tls.use(certificate)

    def close(self) -> None:
        """Let nobody in any more; who is in stays. Harmless when done twice."""
        for server in self._servers:
            server.close()
        for listener in self._listeners:
            listener.close()
