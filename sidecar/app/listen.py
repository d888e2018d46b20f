"""The sockets of several workers: each has its own on the same TCP address, and the kernel spreads connections.

The parent keeps all of them, so that what waits in the queue of a crashed worker's is taken up by its replacement. A
Unix socket, or what the parent was itself started with, is one for all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sidecar.config import TcpAddress, parse_address
from sidecar.host.listeners import inherited, listen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.config import Listen
    from sidecar.host import Inherited
    from sidecar.host.listeners import Listener


@dataclass(frozen=True, slots=True)
class SharedDoors:
    """The listeners, by the worker that accepts from them."""

    by_worker: Sequence[Sequence[Listener]]

    @classmethod
    def at(cls, settings: Listen, handed_over: Inherited) -> SharedDoors:
        """Listen where whoever started the process wants it, else by the settings. Raises OperatorError."""
        scheme = "https" if settings.tls else "http"
        if sockets := handed_over.for_clients():
            return cls([inherited(sockets, scheme=scheme)] * settings.workers)
        address, mode = parse_address(settings.address), settings.unix_permissions
        if not isinstance(address, TcpAddress):
            return cls([listen(address, setting="listen.address", mode=mode, scheme=scheme)] * settings.workers)
        if address.port:  # a shared socket would be let in beside a stranger's
            for probe in listen(address, setting="listen.address", mode=mode):
                probe.close()
        by_worker = []
        for _ in range(settings.workers):
            own = listen(address, setting="listen.address", mode=mode, scheme=scheme, shared=True)
            address = replace(address, port=own[0].sock.getsockname()[1])
            by_worker.append(own)
        return cls(by_worker)

    @property
    def urls(self) -> Sequence[str]:
        """Where clients reach all workers."""
        return [listener.url for listener in self.by_worker[0]]

    def fds(self, worker: int) -> tuple[int, ...]:
        """Give the descriptors of a worker's sockets."""
        return tuple(listener.sock.fileno() for listener in self.by_worker[worker])

    def close(self) -> None:
        """Let nobody in any more that no worker has. Harmless when done twice."""
        for listeners in self.by_worker:
            for listener in listeners:
                listener.close()
