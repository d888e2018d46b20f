"""The end of one answer, handed over to the kernel: known to its connection and to the delivery watch until decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sidecar.downstream.connection import Connection
    from sidecar.downstream.delivery import DeliveryWatch
    from sidecar.turn.state import Cause


class EndHandover:
    """A Handover. `decided` is called once, with None for delivered, else with why downstream left before it was."""

    def __init__(
        self, connection: Connection, delivery: DeliveryWatch, decided: Callable[[Cause | None], None]
    ) -> None:
        self._connection = connection
        self._delivery = delivery
        self._decided = decided
        self._over: asyncio.Future[None] | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin: the last bytes were written."""
        self._over = loop.create_future()
        self._connection.handovers.append(self)
        self._delivery.add(self)

    @property
    def pending(self) -> bool:
        """Whether it began and is not decided."""
        return self._over is not None and not self._over.done()

    def then(self, act: Callable[[], None]) -> None:
        """Act, soon, once it is decided."""
        assert self._over is not None
        self._over.add_done_callback(lambda _: act())

    @property
    def veiled(self) -> bool:
        """Whether TLS lies between: the loops do not tell what waits below it."""
        return self._connection.encrypted

    def unacknowledged(self) -> int:
        """Give the bytes on the connection that downstream has not acknowledged."""
        return self._connection.unacknowledged()

    def delivered(self) -> None:
        """Take note: downstream has the whole answer."""
        self._decide(None)

    def undelivered(self, cause: Cause) -> None:
        """Take note: downstream left before it had the whole answer."""
        self._decide(cause)

    def _decide(self, cause: Cause | None) -> None:
        self._connection.settle(self)
        if self._over is not None and not self._over.done():
            self._over.set_result(None)
            self._decided(cause)
