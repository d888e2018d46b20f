"""What the console needs of those who run turns, as Protocols: one process fulfils them, or several behind one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from prometheus_client import Metric


class MetricsSource(Protocol):
    """The figures, of all processes together."""

    async def families(self) -> Iterable[Metric]:
        """Give them as they are now. Raises PeerError where they cannot be had."""


Probe: TypeAlias = "Callable[[], Awaitable[str | None]]"
"""Says why something is not ready, in a few words; None: it is. May raise PeerError, whose text is then the reason."""
