"""What stands around the sidecar in one schedule, and how bad its days are: drawn once, from the seed."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.turn.retry import Backoff
from sidecar.turn.state import Cause, Plan, StepKind

if TYPE_CHECKING:
    from tests.simulation.clock import Dice

ADMIN_TIMEOUT_S: Final = 2.0
LEASE_S: Final = ADMIN_TIMEOUT_S + 3.0
BACKOFF: Final = Backoff(first_s=0.2, max_s=1.5, attempts_max=5)
CONCURRENCY_MAX: Final = 3
TEMP_TTL_S: Final = 25.0
TOMBSTONE_TTL_S: Final = 600.0
GRACE_S: Final = 4.0
RESPONSE_TIMEOUT_S: Final = 5.0
FENCE_TIMEOUT_S: Final = 4.0
DRAIN_TIMEOUT_S: Final = 3.0
COMES_BACK_WITHIN_S: Final = 2.5
LOOKS_AFTER_S: Final = (0.5, COMES_BACK_WITHIN_S + 0.5)
LEAVINGS: Final = (Cause.RESET, Cause.CLOSED, Cause.VANISHED, Cause.STALLED)

_REQUEST, _CONVERSATION, _BOTH = (
    frozenset({"request_id"}),
    frozenset({"conversation_id"}),
    frozenset({"request_id", "conversation_id"}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An upstream, its admin API as configured, and the weather.

    `names_new`: clients name the conversation that they begin. `goes_on`: the upstream generates to the end for nobody.
    `forgets`: what is over is unknown to its cancel call. `comes_back`: it saves a conversation again, once, after its
    rollback. `by_key`: it acts once for each idempotency key. `puts_up_with` are the causes with the policy `complete`.
    `admin_trouble` is the share of calls that go wrong; the troubles and crashes are numbers.
    """

    plan: Plan
    names_new: bool
    goes_on: bool
    forgets: bool
    comes_back: bool
    by_key: bool
    puts_up_with: frozenset[Cause]
    retention_s: float
    admin_trouble: float
    journal_troubles: int
    crashes: int
    clock_jumps: int
    operator_visits: int

    @property
    def kinds(self) -> frozenset[StepKind]:
        """The admin calls that are configured."""
        return frozenset(self.plan.needs)

    @property
    def parts_repeats(self) -> bool:
        """Whether a call by request id cannot hit an earlier request of the same id, which is over."""
        return self.forgets and StepKind.ROLLBACK_TURN not in self.plan.needs

    @property
    def gone_is_checked(self) -> bool:
        """Whether what comes back after its rollback is noticed."""
        return StepKind.VERIFY in self.plan.needs or not self.comes_back


def draw_site(dice: Dice) -> Site:
    """Draw a site. An upstream without a cancel call is cancelled by its connection's end."""
    kinds = {StepKind.CANCEL: dice.chance(0.85), StepKind.CONFIRM: dice.chance(0.4), StepKind.ROLLBACK: True}
    kinds |= {StepKind.ROLLBACK_TURN: dice.chance(0.4), StepKind.VERIFY: dice.chance(0.5)}
    needs = {kind: _CONVERSATION for kind, is_there in kinds.items() if is_there}
    if StepKind.CANCEL in needs:
        needs[StepKind.CANCEL] = _REQUEST
    if StepKind.ROLLBACK_TURN in needs:
        needs[StepKind.ROLLBACK_TURN] = _BOTH
    tells = StepKind.CANCEL in needs and dice.chance(0.3)
    rough = dice.chance(0.7)
    return Site(
        plan=Plan(
            needs=MappingProxyType(needs),
            cancel_tells=tells,
            keeps=dice.mostly(frozenset[Cause](), frozenset({dice.choose(LEAVINGS)}), likelihood=0.85),
            looks_after_s=LOOKS_AFTER_S,
        ),
        names_new=dice.chance(0.25),
        goes_on=StepKind.CANCEL in needs and dice.chance(0.7),
        forgets=not tells and dice.chance(0.5),
        comes_back=dice.chance(0.4),
        by_key=dice.chance(0.5),
        puts_up_with=dice.mostly(frozenset[Cause](), frozenset({dice.choose(LEAVINGS)}), likelihood=0.85),
        retention_s=dice.mostly(3600.0, 6.0, likelihood=0.8),
        admin_trouble=dice.choose((0.0, 0.2, 0.5, 0.8)) if rough else 0.0,
        journal_troubles=dice.number(0, 2) if rough else 0,
        crashes=dice.number(0, 2) if rough else 0,
        clock_jumps=dice.number(0, 2) if rough else 0,
        operator_visits=dice.number(0, 1),
    )
