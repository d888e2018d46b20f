"""What clients do at a front: who asks, when and how it leaves, and what became of the turns."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from tests.deploy.visitor import WAIT_S, Http1, Http2, Visitor, Way
from tests.fakes.downstream import CHAT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.demo.backend import LegacyBackend
    from tests.acceptance.process import SidecarProcess
    from tests.deploy.visitor import Visits

ASKED: Final = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
PROTOCOLS: Final[tuple[type[Visitor], ...]] = (Http1, Http2)


class Moment(Enum):
    """When a client leaves."""

    BEFORE_THE_FIRST_BYTE = "before"
    MID_STREAM = "amid"


LONG: Final = {Moment.BEFORE_THE_FIRST_BYTE: "think_ms=60000", Moment.MID_STREAM: "words=1200&word_ms=50"}
"""Knobs of an answer that takes longer than any test: it ends only if it is stopped."""
SHORT: Final = {
    Moment.BEFORE_THE_FIRST_BYTE: "think_ms=800&words=1&word_ms=0",
    Moment.MID_STREAM: "words=2&word_ms=800",
}
"""Knobs of an answer that soon ends by itself, unless it is stopped."""


@dataclass(frozen=True)
class Departure:
    """A client that asks, and leaves."""

    protocol: type[Visitor]
    moment: Moment
    way: Way

    @property
    def request_id(self) -> str:
        """Its request's id, which tells them apart in the journal."""
        return f"{self.protocol.protocol} {self.moment.value} {self.way}".replace(" ", "_")

    async def play(self, visits: Visits, port: int, backend: LegacyBackend, knobs: str) -> None:
        """Ask, wait for the moment, and leave."""
        visitor = await visits.begin(self.protocol, port)
        await visitor.post(f"{CHAT}?{knobs}", self.request_id, ASKED)
        await backend.heard(self.request_id, WAIT_S)
        if self.moment is Moment.MID_STREAM:
            assert await visitor.status() == 200
            assert await visitor.piece()
        visitor.leave(self.way)


DEPARTURES: Final = tuple(
    Departure(protocol, moment, way) for protocol in PROTOCOLS for moment in Moment for way in protocol.ways
)


async def play_all(
    departures: Iterable[Departure],
    visits: Visits,
    port: int,
    backend: LegacyBackend,
    knobs: dict[Moment, str],
) -> None:
    """Play them all at the same time."""
    await asyncio.gather(*(departure.play(visits, port, backend, knobs[departure.moment]) for departure in departures))


async def settled(sidecar: SidecarProcess) -> dict[str, str]:
    """Give the turns' states by request id once they are settled, or what they are when that takes too long."""
    with suppress(TimeoutError):
        return await sidecar.until_settled(WAIT_S)
    return sidecar.turns()
