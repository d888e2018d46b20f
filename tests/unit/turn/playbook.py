"""Playbooks: a dialogue with the machine, written down and then checked as a whole.

    assert (
        Playbook(opened())
        >> Forwarded(at=1)
        << State.OPEN
        >> DownstreamGone(at=2, cause=Cause.CLOSED)
        << Owe(StepKind.CANCEL)
        << CloseUpstream()
        << State.CANCELLING
    )

`>>` tells the machine an event. `<<` names what it answers: every effect in its order, then the state. A difference is
shown as a diff; a playbook that nobody checks fails.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import ndiff
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.turn.machine import step
from sidecar.turn.state import Plan, State, StepKind, Turn

if TYPE_CHECKING:
    from typing import Self

    from sidecar.turn.effects import Effect
    from sidecar.turn.events import Event

REQUEST_ID: Final = "req_1"
PLAN: Final = Plan(
    needs={StepKind.CANCEL: frozenset({"request_id"}), StepKind.ROLLBACK: frozenset({"conversation_id"})}
)
CONFIRM_PLAN: Final = Plan(needs={**PLAN.needs, StepKind.CONFIRM: frozenset({"conversation_id"})})
TASK_PLAN: Final = Plan(needs={**PLAN.needs, StepKind.CANCEL: frozenset({"task_id"})})
TELLING_PLAN: Final = Plan(needs=PLAN.needs, cancel_tells=True)
VERIFY_PLAN: Final = Plan(
    needs={**PLAN.needs, StepKind.VERIFY: frozenset({"conversation_id"})},
    looks_after_s=(0.0, 2.0, 10.0),
    rollbacks_max=2,
)
MESSAGE_PLAN: Final = Plan(needs={**PLAN.needs, StepKind.ROLLBACK_TURN: frozenset({"conversation_id", "message_id"})})


def opened(*, begins: bool = True, plan: Plan = PLAN, **captured: str) -> Turn:
    """Give a turn as the driver opens it: journalled, not yet forwarded."""
    return Turn(
        id="t1",
        route="/chat",
        principal="p1",
        begins=begins,
        captured=MappingProxyType({"request_id": REQUEST_ID, **captured}),
        created_at=1.0,
        plan=plan,
        heard=False,
    )


def after(turn: Turn, *events: Event) -> Turn:
    """Give the turn after the events."""
    for event in events:
        turn, _ = step(turn, event)
    return turn


def reloaded(turn: Turn) -> Turn:
    """Give the turn as the journal gives it back: what is about the connection is gone."""
    return replace(turn, heard=True, listening=False)


class Playbook:
    """A dialogue with the machine about one turn."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self._events: list[Event] = []
        self._written: list[str] = []
        self._checked = False

    def __rshift__(self, event: Event) -> Self:
        """Tell the machine an event."""
        self._events.append(event)
        self._written.append(f">> {event}")
        return self

    def __lshift__(self, answer: Effect | State) -> Self:
        """Expect an effect, or the state that the event leads to."""
        self._written.append(_line(answer))
        return self

    def __bool__(self) -> bool:
        """Play: true where the machine answers as written, else an AssertionError with the difference."""
        self._checked = True
        played: list[str] = []
        for event in self._events:
            self.turn, effects = step(self.turn, event)
            played += [f">> {event}", *map(_line, effects), _line(self.turn.state)]
        if played != self._written:
            raise AssertionError("\n".join(["written (-) and played (+):", *ndiff(self._written, played)]))
        return True

    def __del__(self) -> None:
        if not self._checked:
            raise AssertionError(f"a playbook was never checked: {self._written}")


def _line(answer: Effect | State) -> str:
    return f"   << {answer.upper()}" if isinstance(answer, State) else f"   << {answer}"
