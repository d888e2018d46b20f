"""The upstream of the simulation: an old backend that generates to the end and saves, whoever may still be there.

        request --> its queue --taken up--> head, pieces, end --> saved
                                 '--- an error: nothing is taken up

A request may lie in the queue for as long as `retry.ARRIVAL_MAX_S` allows. The conversation's id is told in the head,
in the stream, at the end, or never; it may be a temporary one that gives way to the real one at the end.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.engine.ports import CallOutcome, Verdict
from sidecar.turn.retry import ARRIVAL_MAX_S
from sidecar.turn.state import NOTHING, StepKind
from tests.simulation.site import COMES_BACK_WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.turn.state import Turn
    from tests.simulation.clock import Dice, Process, VirtualLoop
    from tests.simulation.site import Site

QUEUE_MAX_S: Final = ARRIVAL_MAX_S - 0.1
DONE: Final = CallOutcome(verdict=Verdict.DONE, status=200)
GONE: Final = CallOutcome(verdict=Verdict.GONE, status=404)


class AnswerReceiver(Protocol):
    """The exchange, as the upstream's connection calls it."""

    def head_received(self, status: int, told: Mapping[str, str]) -> None: ...

    def piece_received(self, told: Mapping[str, str]) -> None: ...

    def end_received(self, final: Mapping[str, str]) -> None: ...

    def answer_failed(self) -> None: ...


@dataclass(eq=False, slots=True, kw_only=True)
class Generation:
    """A request as the upstream sees it. `over` says how it came to its end."""

    turn: Turn
    named: str | None
    process: Process
    receiver: AnswerReceiver
    conversation_id: str | None = None
    taken_up: bool = False
    over: str | None = None
    connected: bool = True
    came_back: bool = False
    arrives_at: float = 0.0
    script: Iterator[tuple[float, str]] = field(default_factory=lambda: iter(()))

    @property
    def turn_id(self) -> str:
        """The turn whose request it is."""
        return self.turn.id

    @property
    def request_id(self) -> str:
        """The id by which the admin API knows it."""
        return self.turn.request_id

    @property
    def begins(self) -> bool:
        """Whether the request begins its conversation."""
        return self.turn.begins


class Upstream:
    """Requests, and the database: which turns' messages each conversation holds."""

    def __init__(self, loop: VirtualLoop, dice: Dice, site: Site) -> None:
        self.conversations: defaultdict[str, set[str]] = defaultdict(set, old={"earlier"})
        self.generations: dict[str, Generation] = {}
        self.returning = 0
        self._loop = loop
        self._dice = dice
        self._site = site
        self._aliases: dict[str, str] = {}
        self._answers: dict[str, CallOutcome] = {}

    # -- the chat endpoint -----------------------------------------------------------------------------------------

    def send(self, generation: Generation) -> None:
        """Put a request into the queue."""
        self.generations[generation.turn_id] = generation
        generation.script = iter(self._write_script(generation))
        queued_s = self._dice.mostly(0.01, self._dice.between(0, QUEUE_MAX_S))
        self._loop.outside(queued_s, self._take_up, generation)

    def disconnect(self, generation: Generation) -> None:
        """The connection is closed from the other side."""
        generation.connected = False
        if not self._site.goes_on:
            self._end(generation, "disconnected")

    def _write_script(self, generation: Generation) -> list[tuple[float, str]]:
        dice = self._dice
        telling = dice.choose(("head", "head", "piece", "end", "never")) if generation.named is None else "named"
        pieces = ["piece"] * dice.number(1, 4)
        if telling == "piece":
            pieces[dice.number(0, len(pieces) - 1)] = "tell"
        acts = ["tell head" if telling == "head" else "head", *pieces]
        if generation.begins and telling in {"head", "piece"} and dice.chance(0.4):
            acts.append("renaming end")
        else:
            acts.append("telling end" if telling == "end" else "end")
        match dice.mostly("whole", "breaks off", "falls silent", likelihood=0.85):
            case "breaks off":
                acts = [*acts[: dice.number(0, len(acts) - 1)], "break"]
            case "falls silent":
                acts = [*acts[: dice.number(0, len(acts) - 1)], "silence"]
            case _:
                pass
        pace_s = dice.choose((0.02, 0.3, 1.0))
        return [(dice.between(0, pace_s), act) for act in acts]

    def _take_up(self, generation: Generation) -> None:
        known = generation.named is None or generation.begins or self._resolve(generation.named) in self.conversations
        if generation.over is not None:
            return
        if not known or self._dice.chance(0.07):
            generation.over = "refused"
            self._tell(generation, generation.receiver.head_received, 500, NOTHING)
            self._tell(generation, generation.receiver.end_received, NOTHING)
            return
        generation.taken_up = True
        generation.conversation_id = generation.named or f"c_{generation.turn_id}"
        if self._dice.chance(0.6):
            self._save(generation)
        self._go_on(generation)

    def _go_on(self, generation: Generation) -> None:
        wait_s, act = next(generation.script)
        self._loop.outside(wait_s, self._act, generation, act)

    def _act(self, generation: Generation, act: str) -> None:
        if generation.over is not None:
            return
        receiver = generation.receiver
        id_told = {"conversation_id": generation.conversation_id or ""}
        match act:
            case "head" | "tell head":
                self._tell(generation, receiver.head_received, 200, id_told if act == "tell head" else NOTHING)
            case "piece" | "tell":
                self._tell(generation, receiver.piece_received, id_told if act == "tell" else NOTHING)
            case "silence":
                return
            case "break":
                self._end(generation, "broke off")
                return
            case _:
                self._finish(generation, act, id_told)
                return
        self._go_on(generation)

    def _finish(self, generation: Generation, act: str, id_told: Mapping[str, str]) -> None:
        generation.over = "ended"
        self._save(generation)
        final = NOTHING
        if act == "renaming end":
            final = {"conversation_id": self._rename(generation)}
        elif act == "telling end":
            final = id_told
        self._tell(generation, generation.receiver.end_received, final)

    def _end(self, generation: Generation, how: str) -> None:
        if generation.over is None:
            generation.over = how
            self._tell(generation, generation.receiver.answer_failed)

    def _tell(self, generation: Generation, receive: object, *args: object) -> None:
        """Send something to the sidecar; what is sent is received in its order."""
        if not generation.connected or not callable(receive):
            return
        now = self._loop.time()
        arrives_at = max(now + self._dice.between(0, 0.03), generation.arrives_at + 1e-6)
        generation.arrives_at = arrives_at
        generation.process.later(arrives_at - now, self._arrive, generation, receive, *args)

    def _arrive(self, generation: Generation, receive: object, *args: object) -> None:
        if generation.connected and callable(receive):
            receive(*args)

    # -- the database ----------------------------------------------------------------------------------------------

    def remembers(self, turn_id: str) -> bool:
        """Say whether a turn's messages are in a conversation."""
        return any(turn_id in messages for messages in self.conversations.values())

    def has_taken_up(self, turn_id: str) -> bool:
        """Say whether a turn's request lies in the queue no more."""
        generation = self.generations.get(turn_id)
        return generation is not None and (generation.taken_up or generation.over is not None)

    def resolve(self, turn: Turn) -> str | None:
        """Give the present id of a turn's conversation."""
        return self._resolve(turn.conversation_id) if turn.conversation_id is not None else None

    def _resolve(self, conversation_id: str) -> str:
        return self._aliases.get(conversation_id, conversation_id)

    def _save(self, generation: Generation) -> None:
        if generation.conversation_id is not None:
            self.conversations[self._resolve(generation.conversation_id)].add(generation.turn_id)

    def _rename(self, generation: Generation) -> str:
        temporary = generation.conversation_id or ""
        final = f"final_{temporary}"
        self._aliases[temporary] = final
        self.conversations[final] |= self.conversations.pop(temporary, set())
        return final

    # -- the admin API ---------------------------------------------------------------------------------------------

    def call(self, kind: StepKind, turn: Turn, key: str) -> CallOutcome:
        """Act on a call that arrives; where the key says that it was done before, only say so."""
        if self._site.by_key and kind is not StepKind.VERIFY and key in self._answers:
            return self._answers[key]
        outcome = self._made(kind, turn)
        if outcome.verdict is Verdict.DONE:
            self._answers[key] = outcome
        return outcome

    def _made(self, kind: StepKind, turn: Turn) -> CallOutcome:
        conversation_id = self._resolve(turn.conversation_id or "")
        is_there = conversation_id in self.conversations
        match kind:
            case StepKind.CANCEL:
                return self._cancel(turn.request_id)
            case StepKind.ROLLBACK if is_there:
                self._delete(conversation_id)
            case StepKind.ROLLBACK_TURN if is_there:
                return self._remove(conversation_id, turn.request_id)
            case _:
                pass
        return DONE if is_there else GONE

    def _cancel(self, request_id: str) -> CallOutcome:
        meant = [each for each in self.generations.values() if each.request_id == request_id and each.taken_up]
        if not meant or (self._site.forgets and all(each.over for each in meant)):
            return GONE
        for generation in meant:
            self._end(generation, "cancelled")
        told = {"conversation_id": meant[0].conversation_id or ""} if self._site.plan.cancel_tells else NOTHING
        return CallOutcome(verdict=Verdict.DONE, status=200, captured=told)

    def _delete(self, conversation_id: str) -> None:
        for turn_id in self.conversations.pop(conversation_id):
            generation = self.generations.get(turn_id)
            if generation is not None and self._site.comes_back and not generation.came_back:
                generation.came_back = True
                self.returning += 1
                self._loop.outside(self._dice.between(0.1, COMES_BACK_WITHIN_S), self._come_back, generation)

    def _come_back(self, generation: Generation) -> None:
        self.returning -= 1
        self._save(generation)

    def _remove(self, conversation_id: str, request_id: str) -> CallOutcome:
        messages = self.conversations[conversation_id]
        meant = {turn_id for turn_id in messages if self._is_of(turn_id, request_id)}
        messages -= meant
        return DONE if meant else GONE

    def _is_of(self, turn_id: str, request_id: str) -> bool:
        return turn_id in self.generations and self.generations[turn_id].request_id == request_id
