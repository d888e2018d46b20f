"""The sockets at which a process listens, from when they are bound, or were inherited, until it listens no more."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.config import TcpAddress
from sidecar.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.config import Address

BACKLOG: Final = 4096


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket, where it is reached, and the Unix socket's file that it has made for that, if it has."""

    sock: socket.socket
    url: str
    file: tuple[int, int] | None = None
    """The file's device and number: it may be another's by now."""

    def close(self) -> None:
        """Listen no longer. Harmless when done twice."""
        if self.file is not None:
            path = self.url.removeprefix("unix:")
            with suppress(OSError):
                if _identity(path) == self.file:
                    Path(path).unlink()
        self.sock.close()


def listen(address: Address, *, setting: str, mode: int, scheme: str = "http", shared: bool = False) -> list[Listener]:
    """Listen at an address; `mode` says who may connect to a Unix socket. Raises OperatorError, naming the setting.

    `shared`: others may listen at the same TCP address, among whom the kernel spreads connections.
    """
    try:
        if isinstance(address, TcpAddress):
            return [Listener(sock, f"{scheme}://{_reached(address, sock)}") for sock in _tcp(address, shared=shared)]
        sock = _unix(address.path, mode)
        return [Listener(sock, str(address), _identity(address.path))]
    except OSError as error:
        reason = error.strerror or str(error)
        raise OperatorError(f"{setting}: cannot listen on {address} ({reason}); choose another address") from error


def inherited(sockets: Iterable[socket.socket], *, scheme: str = "http") -> list[Listener]:
    """Make listeners of sockets that were inherited; their files belong to whoever bound them."""
    return [Listener(sock, _url_of(sock, scheme)) for sock in sockets]


def _tcp(address: TcpAddress, *, shared: bool) -> list[socket.socket]:
    """Listen at every address of the name, at the same port of each."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    port = address.port
    with ExitStack() as stack:
        sockets = []
        for family, where in dict.fromkeys((one[0], one[4]) for one in found):
            sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((where[0], port, *where[2:]))
            sock.listen(BACKLOG)
            sock.setblocking(False)
            port = port or sock.getsockname()[1]
            sockets.append(sock)
        stack.pop_all()
    return sockets


def _reached(address: TcpAddress, sock: socket.socket) -> TcpAddress:
    return TcpAddress(address.host, sock.getsockname()[1])


def _unix(path: str, mode: int) -> socket.socket:
    """Listen at a path. A file that a dead process left there is replaced; what is alive, or no socket, is left."""
    _clear_the_way(path)
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        umask = os.umask(0o177)  # nobody else connects before the mode is set
        try:
            sock.bind(path)
        finally:
            os.umask(umask)
        Path(path).chmod(mode)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        stack.pop_all()
    return sock


def _clear_the_way(path: str) -> None:
    try:
        is_socket = stat.S_ISSOCK(Path(path).stat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise OSError(errno.EEXIST, "something is there that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, "another process listens there")


def _url_of(sock: socket.socket, scheme: str) -> str:
    where = sock.getsockname()
    return f"unix:{where}" if sock.family == socket.AF_UNIX else f"{scheme}://{TcpAddress(*where[:2])}"


def _identity(path: str) -> tuple[int, int]:
    found = Path(path).lstat()
    return found.st_dev, found.st_ino
