"""The listening sockets that a process is started with: sd_listen_fds(3).

They outlive the process, so that between one that stops and the next one no client is turned away.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

from sidecar.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

FIRST_FD: Final = 3
CONSOLE: Final = "console"
"""The name (FileDescriptorName=) of a socket that is for the operator; all others are for clients."""


class Inherited:
    """The listening sockets that the process was started with, until they are taken."""

    def __init__(self, sockets: Mapping[str, list[socket.socket]] | None = None) -> None:
        self._by_name = dict(sockets or {})

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Inherited:
        """Find them by LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES, which are then gone. Raises OperatorError."""
        pid, count, names = (environment.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
        if pid != str(os.getpid()) or not count.isdecimal():
            return cls()
        named = names.split(":")
        sockets: dict[str, list[socket.socket]] = {}
        for index in range(int(count)):
            name = named[index] if index < len(named) else ""
            sockets.setdefault(name, []).append(_inherited(FIRST_FD + index, name))
        return cls(sockets)

    def for_console(self) -> list[socket.socket]:
        """Take those for the operator; none where there are none, or they are taken."""
        return self._by_name.pop(CONSOLE, [])

    def for_clients(self) -> list[socket.socket]:
        """Take those for clients."""
        names = [name for name in self._by_name if name != CONSOLE]
        return [one for name in names for one in self._by_name.pop(name)]


def _inherited(fd: int, name: str) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        listens = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        listens = False
    if not listens:
        raise OperatorError(
            f"LISTEN_FDS: {name or fd} is no listening stream socket; write ListenStream= and Accept=no into its unit"
        )
    sock.setblocking(False)
    return sock
