"""An exchange as `sidecar.downstream.chat` makes it a turn, without the bytes: the same events in the same order.

        admit (journal) --> connect --> forward --> head --> pieces --> end held --answered--> shown
                                                             --acknowledged--> delivered

What `chat` and its base classes decide is decided here in the same way; a change there has its counterpart here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.errors import DownstreamGoneError, ForestalledError, JournalUnavailableError, PeerError, SidecarError
from sidecar.turn.events import (
    AnswerBegan,
    AnswerEnded,
    Delivered,
    DownstreamGone,
    EndedUnseen,
    Event,
    Forwarded,
    IdsLearned,
    Refused,
    UpstreamLost,
)
from sidecar.turn.state import Cause, State
from tests.simulation.clock import Timer
from tests.simulation.site import DRAIN_TIMEOUT_S, FENCE_TIMEOUT_S, RESPONSE_TIMEOUT_S
from tests.simulation.upstream import Generation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.engine.live import LiveTurn
    from sidecar.turn.state import Turn
    from tests.simulation.client import Visit
    from tests.simulation.sidecar import SimulatedSidecar

ERROR_STATUS = 400


class UnreachableError(PeerError):
    """The upstream takes no connection."""


class SimulatedExchange:
    """Implements the port `LiveExchange`; receives the upstream's answer and its client's leaving."""

    def __init__(self, sidecar: SimulatedSidecar, visit: Visit, turn: Turn) -> None:
        self.process = sidecar.process
        self._sidecar = sidecar
        self._world = sidecar.world
        self._visit = visit
        self._newcomer = turn
        self._live: LiveTurn | None = None
        self._upstream: Generation | None = None
        self._over: asyncio.Future[None] = self._world.loop.create_future()
        self._decided: asyncio.Future[None] | None = None
        self._held = False
        self._away = False
        self._running = True
        self._drain = Timer(self._world.loop, self._drain_over)
        self._silence = Timer(self._world.loop, self._silent_too_long)
        self.drained_out = False

    async def run(self) -> None:
        """Relay the turn."""
        try:
            await self._forward()
            await self._over
        except SidecarError as error:
            self._fail(error)
        if self._decided is not None:
            await self._decided
        self._running = False
        self._release()

    # -- before the upstream hears of it ---------------------------------------------------------------------------

    async def _forward(self) -> None:
        world = self._world
        await world.port()
        while not self._over.done() and await self._sidecar.gate.pass_(
            self._newcomer, timeout_s=FENCE_TIMEOUT_S, left=self._over
        ):
            pass  # what it meant may have changed: look again
        if self._over.done():
            return
        await self._let_in()
        if not self._is(State.OPEN):
            return
        await asyncio.sleep(world.dice.mostly(0.0, world.dice.between(0, 1.5)))
        if world.dice.chance(0.03):
            raise UnreachableError("the upstream takes no connection")
        if not self._is(State.OPEN):
            return
        self._feed(Forwarded(at=world.wall()))
        self._upstream = Generation(turn=self._turn, named=self._visit.names, process=self.process, receiver=self)
        self._silence.set(RESPONSE_TIMEOUT_S)
        world.laws.sent(self._turn)
        world.upstream.send(self._upstream)

    async def _let_in(self) -> None:
        sidecar = self._sidecar
        if sidecar.tombstones.forestall(self._newcomer):
            await sidecar.driver.record_cancelled(self._newcomer)
            raise ForestalledError("cancelled before it came")
        self._live = sidecar.driver.admit(self._newcomer, self)
        try:
            await sidecar.driver.open(self._live)
        except JournalUnavailableError:
            self._live = None
            raise

    # -- the answer ------------------------------------------------------------------------------------------------

    def head_received(self, status: int, told: Mapping[str, str]) -> None:
        """Learn what the head tells; show it, unless nobody is there."""
        self._silence.set(RESPONSE_TIMEOUT_S)
        self._feed(AnswerBegan(at=self._world.wall()))
        self._learn(told)
        if status >= ERROR_STATUS:
            self._feed(Refused(at=self._world.wall()))
        if self._over.done():
            return
        self._show("head", self._turn.conversation_id)

    def piece_received(self, told: Mapping[str, str]) -> None:
        """Pass a piece on as it comes."""
        self._silence.set(RESPONSE_TIMEOUT_S)
        self._learn(told)
        if not self._over.done():
            self._show("piece", self._turn.conversation_id)

    def end_received(self, final: Mapping[str, str]) -> None:
        """Hold the end back until it is durable."""
        self._silence.clear()
        self._upstream = None
        if self._over.done():
            self._end_unseen(final)
        elif self._is(State.OPEN):
            self._held = True
            self._feed(AnswerEnded(at=self._world.wall(), captured=final)).add_done_callback(self._show_end)
        else:
            self._show("end of an error", None)
            self._finish()

    def answer_failed(self) -> None:
        """Take note: the upstream broke off."""
        self._upstream = None
        if not self._held:
            self._fail(UnreachableError("the upstream broke off"))

    def _show_end(self, durable: asyncio.Future[None]) -> None:
        del durable
        held, self._held = self._held, False
        if not held or self._turn.answered_at is None or self._over.done():
            return
        self._decided = self._world.loop.create_future()
        self._show("end", self._turn.conversation_id)
        self._finish()

    def _end_unseen(self, final: Mapping[str, str]) -> None:
        if self._away:
            self._feed(EndedUnseen(at=self._world.wall(), captured=final))
            self.close_upstream()
        else:
            self._feed(AnswerEnded(at=self._world.wall(), captured=final))

    # -- from downstream -------------------------------------------------------------------------------------------

    def acknowledged(self) -> None:
        """Take note: downstream has the whole answer."""
        self._decide(Delivered(at=self._world.wall()))

    def left(self, cause: Cause, whole: bool = False) -> None:
        """Take note: downstream is gone; `whole` where it has acknowledged everything before."""
        if self._decided is not None:
            self._decide(Delivered(at=self._world.wall()) if whole else self._departure(cause))
            return
        self._finish()
        if self._live is not None and not self._goes_on_unseen(cause):
            self._feed(self._departure(cause))
        if not self._away and not self._drain.is_set:
            self.close_upstream()

    def shut_down(self) -> None:
        """Break off; what was shown to its end is decided by the acknowledgement, or by recovery."""
        if self._decided is None:
            self.left(Cause.SHUTDOWN)
        self._visit.cut_off()

    def _decide(self, event: Event) -> None:
        if self._decided is not None and not self._decided.done():
            self._decided.set_result(None)
            self._feed(event)
            self._release()

    def _departure(self, cause: Cause) -> Event:
        at = self._world.wall()
        if self._puts_up_with(cause) and self._turn.answered_at is not None:
            return EndedUnseen(at=at)
        return DownstreamGone(at=at, cause=cause)

    def _puts_up_with(self, cause: Cause) -> bool:
        return cause in self._world.site.puts_up_with

    def _goes_on_unseen(self, cause: Cause) -> bool:
        if not self._puts_up_with(cause) or not self._is(State.OPEN) or self._upstream is None:
            return False
        self._away = True
        return True

    # -- LiveExchange ----------------------------------------------------------------------------------------------

    def abort_downstream(self) -> None:
        """Relay nothing more."""
        if not self._over.done():
            self._finish()
            self._held = False
        elif self._decided is not None and not self._decided.done():
            self._sidecar.process.later(0.001, self.left, Cause.RESET)
        else:
            return
        self._visit.cut_off()

    def close_upstream(self) -> None:
        """Close the upstream's connection."""
        self._away = False
        self._drain.clear()
        self._silence.clear()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            self._world.laws.disconnects(self._turn, upstream, drained_out=self.drained_out)
            self._world.upstream.disconnect(upstream)
        self._release()

    def drain_upstream(self) -> None:
        """Read on, unseen."""
        self._away = False
        self._drain.set(DRAIN_TIMEOUT_S if self._upstream is not None else 0.0)

    def _drain_over(self) -> None:
        self.drained_out = True
        self._feed(UpstreamLost(at=self._world.wall()))
        self.close_upstream()

    # -- leaves ----------------------------------------------------------------------------------------------------

    def _fail(self, error: SidecarError) -> None:
        if not self._over.done():
            self.close_upstream()
            self._visit.cut_off()
            self._finish()
        if self._live is not None:
            at = self._world.wall()
            cut = isinstance(error, DownstreamGoneError)
            self._feed(DownstreamGone(at=at, cause=Cause.UPLOAD_CUT) if cut else UpstreamLost(at=at))

    def _silent_too_long(self) -> None:
        if self._upstream is not None:
            upstream, self._upstream = self._upstream, None
            self._world.upstream.disconnect(upstream)
            self._fail(UnreachableError("the upstream is silent"))

    def _show(self, what: str, conversation_id: str | None) -> None:
        self._world.laws.shown(self._turn, what)
        self._visit.send(what, conversation_id)

    def _learn(self, told: Mapping[str, str]) -> None:
        if told:
            self._feed(IdsLearned(at=self._world.wall(), captured=told))

    def _finish(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    @property
    def _turn(self) -> Turn:
        assert self._live is not None
        return self._live.turn

    def _is(self, state: State) -> bool:
        return self._turn.state is state

    def _feed(self, event: Event) -> asyncio.Future[None]:
        assert self._live is not None
        self._world.note("fed", self._turn.id, event)
        return self._sidecar.driver.feed(self._live, event)

    def _release(self) -> None:
        pending = self._decided is not None and not self._decided.done()
        underway = self._running or pending or self._away or self._drain.is_set
        if self._live is not None and not underway:
            self._sidecar.driver.release(self._live)
