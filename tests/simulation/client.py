"""The clients of the simulation: they stay, leave at any moment, cancel first, twice, late - or as strangers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sidecar.turn.state import Cause
from tests.simulation.site import GRACE_S, LEAVINGS

if TYPE_CHECKING:
    from sidecar.engine.cancellation import CancelOutcome
    from tests.simulation.clock import Dice
    from tests.simulation.exchange import SimulatedExchange
    from tests.simulation.world import World

STRANGER: Final = "stranger"
TRIES_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Intent:
    """A wish to cancel: `when` is before, sent or complete, and `after_s` seconds later; `by` names the ids given."""

    when: str
    after_s: float
    by: str
    stranger: bool


@dataclass(eq=False, slots=True)
class Ask:
    """A request to cancel as it is made; `wall_at` is the sidecar's time then."""

    visit: Visit
    principal: str
    request_id: str | None
    conversation_id: str | None
    wall_at: float
    outcome: CancelOutcome | None = None


@dataclass(eq=False, slots=True, kw_only=True)
class Visit:
    """One chat message of one client. `names` is the conversation that its request names."""

    world: World
    turn_id: str
    request_id: str
    principal: str
    names: str | None
    begins: bool
    leaves_at: str | float | None
    cause: Cause
    intents: list[Intent]
    knows: str | None = None
    connected: bool = False
    over: bool = False
    left: Cause | None = None
    complete: bool = False
    complete_at: float | None = None
    asks: list[Ask] = field(default_factory=list)
    _exchange: SimulatedExchange | None = None
    _arrives_at: float = 0.0
    _tries: int = 0
    sent: bool = False

    def begin(self) -> None:
        """Come: ask to cancel first, if that is what it wants; then send the message."""
        first = [intent for intent in self.intents if intent.when == "before"]
        for intent in first:
            self._ask(intent)
        if first:
            self.world.loop.outside(3.0, self._send)  # with or without an answer
        else:
            self._send()

    # -- the message -----------------------------------------------------------------------------------------------

    def _send(self) -> None:
        if self.sent:
            return
        sidecar = self.world.listener
        if sidecar is None:
            self._tries += 1
            self.over = self._tries > TRIES_MAX
            if not self.over:
                self.world.loop.outside(0.5, self._send)
            return
        self.sent = self.connected = True
        self.world.laws.comes(self)
        self.world.note("client sends", self.turn_id, self.names, self.begins)
        self._exchange = sidecar.take(self)
        for intent in self.intents:
            if intent.when == "sent":
                self.world.loop.outside(intent.after_s, self._ask, intent)
        if isinstance(self.leaves_at, float):
            self.world.loop.outside(self.leaves_at, self.leave)

    def send(self, what: str, conversation_id: str | None) -> None:
        """Take what the sidecar writes to the connection; it arrives later, in its order."""
        now = self.world.loop.time()
        self._arrives_at = max(now + self.world.dice.between(0, 0.03), self._arrives_at + 1e-6)
        self.world.loop.outside(self._arrives_at - now, self._receive, what, conversation_id)

    def _receive(self, what: str, conversation_id: str | None) -> None:
        if not self.connected:
            return
        self.knows = conversation_id or self.knows
        if what == "end":
            self._have_all()
        elif what == "end of an error":
            self.over = True
        if what == self.leaves_at:
            self.leave()

    def _have_all(self) -> None:
        self.complete = self.over = True
        self.complete_at = self.world.loop.time()
        self.world.note("client has all", self.turn_id)
        for intent in self.intents:
            if intent.when == "complete":
                self.world.loop.outside(intent.after_s, self._ask, intent)
        if self._exchange is not None:
            delay_s = self.world.dice.mostly(0.05, self.world.dice.between(0, 1))
            self._exchange.process.later(delay_s, self._exchange.acknowledged)

    # -- leaving ---------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Leave now; who has everything closes in an orderly way."""
        if not self.connected or self._exchange is None:
            return
        self.connected, self.over = False, True
        cause = Cause.CLOSED if self.complete else self.cause
        self.left = None if self.complete else cause
        self.world.note("client leaves", self.turn_id, cause, self.complete)
        exchange = self._exchange
        exchange.process.later(self.world.dice.between(0, 0.1), exchange.left, cause, self.complete)

    def cut_off(self) -> None:
        """The sidecar ended the connection."""
        self.world.loop.outside(self.world.dice.between(0, 0.03), self._lose)

    def _lose(self) -> None:
        self.connected, self.over = False, True

    # -- cancelling ------------------------------------------------------------------------------------------------

    def _ask(self, intent: Intent, tries: int = TRIES_MAX) -> None:
        sidecar = self.world.listener
        conversation_id = self.knows or self.names
        if sidecar is None:
            if tries:
                self.world.loop.outside(0.5, self._ask, intent, tries - 1)
            return
        if intent.by == "conversation" and conversation_id is None:
            return
        ask = Ask(
            self,
            STRANGER if intent.stranger else self.principal,
            self.request_id if intent.by != "conversation" else None,
            conversation_id if intent.by != "request" else None,
            self.world.wall(),
        )
        self.asks.append(ask)
        self.world.laws.asked(ask)
        sidecar.ask(ask)

    def answered(self, ask: Ask) -> None:
        """Take the answer to a request to cancel: who asked first now sends the message."""
        del ask
        if any(intent.when == "before" for intent in self.intents):
            self.world.loop.outside(self.world.dice.between(0, 0.05), self._send)


def draw_visit(world: World, number: int, earlier: list[Visit]) -> Visit:
    """Draw a visit: in a new conversation, in one that was there before, or an earlier request sent once more."""
    dice = world.dice
    names, begins = _draw_conversation(world, number, earlier)
    request_id = f"req_t{number}"
    kept = {visit.request_id for visit in earlier if visit.complete or not visit.over}
    failed = [visit for visit in earlier if visit.request_id not in kept]
    if world.site.parts_repeats and failed and dice.chance(0.3):
        again = dice.choose(failed)
        names, begins, request_id = again.names, again.begins, again.request_id
    return Visit(
        world=world,
        turn_id=f"t{number}",
        request_id=request_id,
        principal="p1",
        names=names,
        begins=begins,
        leaves_at=_draw_leaving(dice),
        cause=dice.choose(LEAVINGS),
        intents=_draw_intents(dice),
    )


def _draw_conversation(world: World, number: int, earlier: list[Visit]) -> tuple[str | None, bool]:
    """Give the conversation that the request names, and whether it thereby begins it."""
    known = [visit.knows for visit in earlier if visit.knows is not None]
    if known and world.dice.chance(0.6):
        return world.dice.choose(known), False
    if world.dice.chance(0.15):
        return "old", False
    return (f"new_{number}" if world.site.names_new else None), True


def _draw_leaving(dice: Dice) -> str | float | None:
    return dice.choose((None, None, None, "head", "piece", "end", dice.between(0, 0.5), dice.between(0, 5)))


def _draw_intents(dice: Dice) -> list[Intent]:
    if dice.chance(0.5):
        return []
    when = dice.choose(("before", "sent", "sent", "complete", "complete"))
    after_s = dice.between(0, 2 * GRACE_S) if when == "complete" else dice.choose((0.0, 0.2, 3.0)) * dice.random()
    intent = Intent(when, after_s, dice.choose(("request", "request", "both", "conversation")), dice.chance(0.25))
    if dice.chance(0.3):
        again = Intent(when, after_s + dice.random(), intent.by, dice.chance(0.25))
        return [intent, again]
    return [intent]
