"""A network of its own for clients, joined to this host by a pair of virtual interfaces, whose link can be cut.

Needs root and iproute2; where either is missing, the test is skipped. Addresses are of 198.18.0.0/15 (RFC 2544), which
is routed nowhere.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.fakes.downstream import Downstream

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNET: Final = 0x40000000
IP: Final = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True, slots=True)
class Namespace:
    """The clients' network: `host` is the address at which they reach this host."""

    name: str
    host: str

    async def connect(self, port: int) -> Downstream:
        """Connect a client to this host."""
        sock = self._socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (self.host, port))
        return Downstream(sock)

    def cut(self) -> None:
        """Cut the link: from now on nothing passes either way, not even a FIN."""
        _ip("-n", self.name, "link", "set", "eth0", "down")

    def _socket(self) -> socket.socket:
        """Make a socket in the namespace: it stays there, wherever it is used from."""
        made: list[socket.socket] = []
        thread = threading.Thread(target=lambda: made.append(_made_within(self.name)))
        thread.start()
        thread.join()
        return made[0]


@contextmanager
def namespace() -> Iterator[Namespace]:
    """Make a namespace; skip the test where that is not possible."""
    if IP is None or os.geteuid() != 0:
        pytest.skip("a network namespace needs root and the command `ip` (iproute2)")
    number = os.getpid() % 0x4000 * 4
    ours, theirs = (f"198.18.{(number + last) >> 8}.{(number + last) & 255}" for last in (1, 2))
    name, device = f"sidecar{os.getpid()}", f"sc{os.getpid()}"
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace can be made here: {error.stderr.decode().strip()}")
    try:
        _ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("addr", "add", f"{ours}/30", "dev", device)
        _ip("link", "set", device, "up")
        _ip("-n", name, "addr", "add", f"{theirs}/30", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        yield Namespace(name, ours)
    finally:
        _ip("link", "del", device)  # which a socket that is still open would keep
        _ip("netns", "del", name)


def _ip(*words: str) -> None:
    assert IP is not None
    subprocess.run([IP, *words], check=True, capture_output=True)


def _made_within(name: str) -> socket.socket:
    """Enter the namespace for good, which only a thread that ends soon may do."""
    with Path(f"/run/netns/{name}").open("rb") as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    return socket.socket()
