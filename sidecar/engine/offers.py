"""Changes of live turns on their way to the journal: each is offered until it is taken (law 2)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.engine.changes import change_of
from sidecar.engine.ports import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.engine.history import HistoryEntry
    from sidecar.engine.live import LiveTurn
    from sidecar.engine.ports import Clock, Haste, Journal, StepUpdate
    from sidecar.turn.effects import Owe
    from sidecar.turn.state import StepKind

RESUBMIT_S: Final = 0.5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A change of a live turn, which happened `at` that time; `durable` is done once it was taken."""

    live: LiveTurn
    owed: tuple[Owe, ...]
    update: StepUpdate | None
    history: tuple[HistoryEntry, ...]
    at: float
    haste: Haste
    lease: StepKind | None
    durable: asyncio.Future[None]


class Offers:
    """Makes them. `committed` hears of each that was taken, and of the steps that were owed with it."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        *,
        lease_until: Callable[[], float | None],
        committed: Callable[[LiveTurn, Sequence[Owe]], None],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._lease_until = lease_until
        self._committed = committed

    def make(
        self,
        live: LiveTurn,
        owed: tuple[Owe, ...],
        update: StepUpdate | None,
        history: tuple[HistoryEntry, ...],
        *,
        at: float,
        haste: Haste,
        lease: StepKind | None,
    ) -> asyncio.Future[None]:
        """Offer the turn as it now is; the future is done when it is durable. `lease`: a step that is made at once."""
        durable = asyncio.get_running_loop().create_future()
        live.undurable += 1
        if update is None:
            live.owing.update({owe.kind: owe for owe in owed})
            owed = ()
        self._submit(Offer(live, owed, update, history, at, haste, lease, durable))
        return durable

    def _submit(self, offer: Offer) -> None:
        """Submit the turn as it is now: a change that is offered again must not bring back an older state.

        All that is owed goes along: where an earlier change fails and this one does not, no step may be made before
        those that come first. Only what an attempt's result makes owed has to stay with that result.
        """
        live, until = offer.live, self._lease_until() if offer.lease else None
        carried = (*live.owing.values(), *offer.owed)
        lease = Lease(kind=offer.lease, until=until) if offer.lease and until is not None else None
        at = offer.at if offer.update else self._clock()  # an attempt has ended; what is owed is due from now on
        change = change_of(live.turn, carried, offer.update, offer.history, at=at, haste=offer.haste, lease=lease)
        self._journal.submit(change).add_done_callback(partial(self._submitted, offer, carried))

    def _submitted(self, offer: Offer, carried: tuple[Owe, ...], committed: asyncio.Future[None]) -> None:
        live = offer.live
        error = committed.exception()
        if error is not None:
            log.error("journal_retry", turn=live.turn.id, error=str(error))
            # A step that follows an attempt's result is being made, or was by then: nobody makes it for this lease.
            again = replace(offer, lease=None) if offer.update is not None else offer
            asyncio.get_running_loop().call_later(RESUBMIT_S, self._submit, again)
            return
        live.undurable -= 1
        if not offer.durable.done():
            offer.durable.set_result(None)
        for owe in carried:
            if live.owing.get(owe.kind) is owe:
                del live.owing[owe.kind]
        self._committed(live, carried)
