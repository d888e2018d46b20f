"""An answer that runs on with nobody to see it: drained for ids (law 4), or let run to its end (policy, grace).

Either is over when the upstream's connection is closed; what was wasted by then is counted, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.downstream.away import Away
from sidecar.downstream.drain import Drain

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sidecar.downstream.edge import Edge
    from sidecar.turn.state import Turn


class Unseen:
    """The unseen rest of one answer. `drained` is called when a drain has to end, `impatient` when a grace time has."""

    def __init__(
        self,
        edge: Edge,
        loop: asyncio.AbstractEventLoop,
        *,
        drained: Callable[[], None],
        impatient: Callable[[], None],
    ) -> None:
        self._drain = Drain(edge.settings.upstream.drain, edge.draining, drained)
        self._away = Away()
        self._impatient = impatient
        self._waste = edge.waste
        self._loop = loop
        self._since: float | None = None
        self._bytes = 0

    @property
    def away(self) -> bool:
        """Whether the answer is let run to its end."""
        return self._away.active

    @property
    def drains(self) -> bool:
        """Whether the answer is read on for ids."""
        return self._drain.active

    @property
    def active(self) -> bool:
        """Whether the answer runs on."""
        return self._away.active or self._drain.active

    def begin_away(self, grace_s: float | None) -> None:
        """Let the answer run on, to its end (None) or for so many seconds."""
        self._since = self._loop.time()
        self._away.begin(self._loop, grace_s=grace_s, act=self._impatient)

    def begin_drain(self, *, possible: bool) -> None:
        """Read on for ids; over at once where that is not possible."""
        self._away.end()
        self._since = self._since or self._loop.time()
        self._drain.begin(self._loop, possible=possible)

    def count(self, number: int) -> None:
        """Count bytes that nobody sees."""
        self._bytes += number

    def bound(self, number: int) -> None:
        """Hold bytes against the limits, once it is known what they told."""
        self._drain.count(number)

    def end(self, turn: Turn | None, why: str | None) -> None:
        """End; harmless when done twice. `why` downstream had left."""
        self._away.end()
        self._drain.end()
        since, self._since = self._since, None
        if since is not None and turn is not None:
            seconds = self._loop.time() - since
            self._waste.add(turn.route, why or "unknown", count=self._bytes, seconds=seconds, turn=turn.id)
