"""A supervisor such as systemd: a real datagram socket that hears what a process tells of itself."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


class SupervisorFake:
    """What was told, a datagram each, as its assignments."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.address = address
        self.told: list[dict[str, str]] = []
        self._sock = sock

    def listen(self) -> list[dict[str, str]]:
        """Take in what has come; give all of it."""
        while True:
            try:
                message = self._sock.recv(4096).decode()
            except BlockingIOError:
                return self.told
            self.told.append(dict(line.split("=", 1) for line in message.split("\n")))

    async def hears(self, word: str, *, after: int = 0, timeout_s: float = 20) -> dict[str, str]:
        """Wait for a word, not counting the first `after` datagrams; give what was told with it."""
        found = await eventually(lambda: [told for told in self.listen()[after:] if word in told], timeout_s)
        return found[0]


@contextmanager
def supervisor(address: str) -> Iterator[SupervisorFake]:
    """Listen at a path, or at an abstract name that begins with `@`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        yield SupervisorFake(sock, address)
