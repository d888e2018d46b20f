"""Feeds events to turns: the machine decides, the journal remembers, the exchange acts.

A turn that is under way in this process is *live*: kept in memory, its events taken in at once, in the order in which
they happen. Every other turn is loaded, stepped and committed under a lock of its own. Either way the state and what
it owes are one change, and a change of a live turn is offered to the journal until it is durable (law 2).
"""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.engine import causes
from sidecar.engine.changes import change_of, haste_of, owed_of
from sidecar.engine.fence import Fence
from sidecar.engine.history import forgotten
from sidecar.engine.keyed_lock import KeyedLock
from sidecar.engine.live import ANYONE, ENDED, LiveIndex, LiveTurn, Taker
from sidecar.engine.offers import Offers
from sidecar.engine.peers import Alone
from sidecar.engine.ports import Change, Clock, Haste, Journal, LiveExchange, StepUpdate, TurnObserver
from sidecar.engine.standing import Standing
from sidecar.engine.unobserved import UNOBSERVED
from sidecar.errors import SidecarError
from sidecar.turn.effects import AbortDownstream, CloseUpstream, DrainUpstream, Effect, Owe
from sidecar.turn.events import CancelRequested, DownstreamGone
from sidecar.turn.machine import step
from sidecar.turn.state import Cause, State, StepKind, StepState, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sidecar.engine.peers import Peers
    from sidecar.turn.events import Event

_CLOSE: Final = CloseUpstream()
_UNDONE: Final = frozenset({State.CANCELLING, State.CANCELLED, State.UNRESOLVED})
_PASSING: Final = frozenset({"heard", "listening", "answer_began_at"})
_durable: Final = attrgetter(*(each.name for each in fields(Turn) if each.name not in _PASSING))
"""What of a turn has to be committed when it changes; the rest goes along with whatever is committed next."""

log = structlog.get_logger()


class Driver:
    """The only one who steps turns. `on_owed` is called whenever newly owed steps have become durable.

    Without `peers`, as for the operator, turns stay whose they are; else they are this process's from then on.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        *,
        on_owed: Callable[[], None],
        observer: TurnObserver = UNOBSERVED,
        peers: Peers | None = None,
        standing: Standing | None = None,
    ) -> None:
        self._journal = journal
        self._observer = observer
        self._clock = clock
        self.peers: Peers = peers or Alone()
        """The other processes that step turns."""
        self._owner = peers.number if peers else None
        self._on_owed = on_owed
        self.taker: Taker | None = None
        """Who makes live turns' calls at once."""
        self._live: dict[str, LiveTurn] = {}
        self._index = LiveIndex()
        self._offers = Offers(journal, clock, lease_until=self._lease_until, committed=self._committed)
        self._taken: dict[str, LiveTurn] = {}  # live no longer, but their calls are being made
        self._changing: dict[str, Turn] = {}
        self._locks = KeyedLock()
        self.fence = Fence()
        """Who waits for turns; it is told of whatever becomes durable of them."""
        self.standing = standing or Standing()
        """What may be in a newcomer's way though it is not live."""
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._nothing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Is done: for what changes nothing durable."""
        self._nothing.set_result(None)

    def admit(self, turn: Turn, exchange: LiveExchange) -> LiveTurn:
        """Make a new turn live: from now on it can be found, and cancelled. It is not durable yet."""
        live = LiveTurn(self.owned(turn), exchange)
        self._enlist(live)
        return live

    async def open(self, live: LiveTurn) -> None:
        """Journal a turn that was admitted (law 1).

        Raises JournalUnavailableError, InProgressError; the turn is then forgotten, and nothing may go upstream.
        """
        try:
            await self._journal.submit(Change(turn=live.turn, at=live.turn.created_at, haste=Haste.SOON))
        except SidecarError:
            self._forget(live)
            if live.turn.state is State.OPEN:
                self.standing.moved(live.turn, None)
            raise
        self._observer.turn_opened(live.turn)

    async def record_cancelled(self, turn: Turn) -> None:
        """Journal a new turn as cancelled, because its cancel came first. Raises JournalUnavailableError."""
        after, _ = step(self.owned(turn), CancelRequested(at=turn.created_at, cause=Cause.REQUESTED))
        self.standing.left(after)
        await self._journal.submit(Change(turn=after, at=turn.created_at))
        self._observer.turn_opened(turn)
        self._observer.turn_moved(turn, after)

    def feed(
        self, live: LiveTurn, event: Event, update: StepUpdate | None = None, *, lease: StepKind | None = None
    ) -> asyncio.Future[None]:
        """Take in an event of a live turn at once; the future is done when what it changed is durable.

        `lease` names the step that whoever has taken the turn makes next.
        """
        before = live.turn
        live.turn, effects = step(before, event)
        live.undurable += 1  # acting may release the turn: what is not yet durable has to keep it live
        if _CLOSE in effects:  # before all else: somebody generates for nobody
            live.exchange.close_upstream()
        self._tell(before, live.turn)
        owed, history = owed_of(effects), forgotten(before, live.turn, event, effects)
        durable = self._nothing
        if update is not None or owed or history or _durable(before) != _durable(live.turn):
            self._enlist(live)
            live.note_owed(owed)
            taken = self._place_for(before, live, owed) if update is None else None
            haste, lease = haste_of(event), lease or taken
            durable = self._offers.make(live, owed, update, history, at=event.at, haste=haste, lease=lease)
            if taken is not None and self.taker is not None:
                self.taker.take(live, taken, durable)
        self._act(live, effects)
        live.undurable -= 1
        self._forget_if_over(live)
        return durable

    async def apply(self, turn_id: str, event: Event, update: StepUpdate | None = None) -> Turn | None:
        """Take in an event of any turn; give the turn as it then is, once that is durable; None for an unknown one.

        Raises JournalUnavailableError where a turn that is not live cannot be loaded or committed.
        """
        async with self._locks.hold(turn_id):
            live = self._live.get(turn_id) or self._taken.get(turn_id)
            if live is not None:
                await asyncio.shield(self.feed(live, event, update))  # which others wait for, too
                return live.turn
            return await self._apply_stored(turn_id, event, update)

    def hold(self, live: LiveTurn) -> None:
        """Keep a live turn in memory as long as its steps are being made."""
        live.taken = True

    def let_go(self, live: LiveTurn) -> None:
        """Keep a live turn for its steps no longer."""
        live.taken = False
        self._taken.pop(live.turn.id, None)
        self._forget_if_over(live)

    def release(self, live: LiveTurn) -> None:
        """Let go of a turn whose exchange has nothing more to tell; it stays live until it is durable."""
        live.released, live.exchange = True, ENDED
        self._forget_if_over(live)

    def live_with(self, principal: str, name: str, value: str) -> Sequence[LiveTurn]:
        """Give the principal's live turns with that request_id or conversation_id."""
        return tuple(self._index.get(principal, name, value))

    def live_in(self, conversation_id: str) -> Sequence[Turn]:
        """Give the turns of all principals that know the conversation by that id, also as a temporary one.

        That is, those of which the journal may not tell yet how they now are: live ones, and stored ones of which a
        change is on its way.
        """
        live = [live.turn for live in self._index.get(ANYONE, "conversation_id", conversation_id)]
        changing = self._changing.values()
        return [*live, *(turn for turn in changing if conversation_id in {turn.conversation_id, turn.temp_id})]

    def owned(self, turn: Turn) -> Turn:
        """Give a turn as this process's own."""
        return turn if self._owner in {None, turn.owner} else replace(turn, owner=self._owner)

    @property
    def live(self) -> Iterable[LiveTurn]:
        """The live turns, as they are now."""
        return tuple(self._live.values())

    @property
    def live_count(self) -> int:
        """How many turns are live."""
        return len(self._live)

    def give_up(self) -> None:
        """Cancel the turns that are still live because the sidecar stops."""
        for live in self.live:
            self.feed(live, DownstreamGone(at=self._clock(), cause=Cause.SHUTDOWN))

    async def wait_until_empty(self) -> None:
        """Wait until no turn is live."""
        await self._emptied.wait()

    async def _apply_stored(self, turn_id: str, event: Event, update: StepUpdate | None) -> Turn | None:
        stored = await self._journal.load(turn_id)
        if stored is None:
            return None
        before = self.owned(stored)
        after, effects = step(before, event)
        owed, history = owed_of(effects), forgotten(before, after, event, effects)
        if after != before or owed or update:
            self._changing[turn_id] = after
            self.standing.left(after)
            try:
                await self._journal.submit(change_of(after, owed, update, history, at=event.at))
            finally:
                del self._changing[turn_id]
            self.standing.moved(before, after)
            self._tell(before, after)
            self._moved(after)
        if owed:
            self._on_owed()
        return after

    def _tell(self, before: Turn, after: Turn) -> None:
        causes.tell(before, after)
        self._observer.turn_moved(before, after)

    def _moved(self, turn: Turn) -> None:
        """Tell those who may wait for the turn, here and elsewhere: something new of it is durable."""
        self.fence.moved(turn)
        if turn.state in _UNDONE:
            self.peers.moved(turn)

    def _act(self, live: LiveTurn, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case AbortDownstream():
                    live.exchange.abort_downstream()
                case CloseUpstream():
                    self._observer.upstream_closed(live.turn, at=self._clock())
                case DrainUpstream():
                    live.exchange.drain_upstream()
                case _:
                    pass

    def _place_for(self, before: Turn, live: LiveTurn, owed: Sequence[Owe]) -> StepKind | None:
        """Name the step that can be made at once: it is owed for the first time, and no other before it."""
        if not owed or live.taken or StepState.PENDING in before.steps.values():
            return None
        first = owed[0]
        at_once = first.kind in live.once and not first.after_s and self.taker is not None and self.taker.has_place
        return first.kind if at_once else None

    def _lease_until(self) -> float | None:
        return self.taker.until if self.taker else None

    def _committed(self, live: LiveTurn, owed: Sequence[Owe]) -> None:
        """Take note: a change of a live turn is durable, and with it what that made owed."""
        self._moved(live.turn)
        if owed and not live.taken:
            self._on_owed()
        self._forget_if_over(live)

    def _enlist(self, live: LiveTurn) -> None:
        """Have a turn found by its ids, also one that was kept only for its steps: the journal will lag behind it."""
        if live.turn.id not in self._live and (live.taken or not live.released):
            self._live[live.turn.id] = live
            self._emptied.clear()
        self._index.note(live)

    def _forget_if_over(self, live: LiveTurn) -> None:
        if live.released and not live.undurable:
            self._forget(live)

    def _forget(self, live: LiveTurn) -> None:
        if self._live.pop(live.turn.id, None) is not None:
            self.standing.left(live.turn)
            if live.stood:
                self.standing.moved(live.turn, live.turn)
        if live.taken:
            live.stood = True
            self._taken[live.turn.id] = live
        self._index.drop(live)
        if not self._live:
            self._emptied.set()
