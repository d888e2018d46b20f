"""What the figures make of what they are told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.savings import Savings
from sidecar.turn.state import Cause, Plan, State, StepKind, StepState, Turn

if TYPE_CHECKING:
    from collections.abc import Mapping

TURN = Turn(
    id="t1", route="/chat", principal="p", begins=True, captured={"request_id": "r"}, created_at=100.0, plan=Plan()
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def value(metrics: Metrics, name: str, labels: Mapping[str, str] | None = None) -> float:
    return metrics.registry.get_sample_value(f"sidecar_{name}", dict(labels or {})) or 0.0


def whole(seconds: float) -> Turn:
    return replace(TURN, state=State.ANSWERED, answered_at=TURN.created_at + seconds)


def test_an_answer_that_is_cut_off_saves_what_its_likes_took_longer(metrics: Metrics) -> None:
    metrics.turn_moved(TURN, whole(10.0))
    cut = replace(TURN, state=State.CANCELLING, cause=Cause.CLOSED, cancelled_at=104.0)
    metrics.upstream_closed(cut, at=104.0)
    assert value(metrics, "saved_seconds_estimate_total", {"route": "/chat"}) == pytest.approx(6.0)


@pytest.mark.parametrize(
    "turn",
    [
        replace(TURN, cancelled_at=130.0),  # longer than any before it
        replace(TURN, cancelled_at=104.0, answered_at=103.0),  # it was whole already
        replace(TURN, cancelled_at=104.0, route="/other"),  # none of its route was ever whole
        TURN,  # not cancelled
    ],
)
def test_nothing_is_said_to_be_saved_that_was_not(metrics: Metrics, turn: Turn) -> None:
    metrics.turn_moved(TURN, whole(10.0))
    metrics.upstream_closed(turn, at=turn.cancelled_at or 104.0)
    assert value(metrics, "saved_seconds_estimate_total", {"route": turn.route}) == 0.0


def test_the_mean_follows_the_latest() -> None:
    savings = Savings()
    savings.completed("/chat", 10.0)
    for _ in range(100):
        savings.completed("/chat", 20.0)
    assert savings.rest_s("/chat", 5.0) == pytest.approx(15.0, abs=0.1)


@pytest.mark.parametrize(
    ("state", "result"),
    [
        (StepState.PENDING, "failed"),
        (StepState.DELIVERED, "delivered"),
        (StepState.DEAD, "dead"),
    ],
)
def test_an_attempt_counts_as_what_it_came_to(metrics: Metrics, state: StepState, result: str) -> None:
    cancelled = replace(TURN, cancelled_at=101.0)
    metrics.step_ended(cancelled, StepKind.ROLLBACK, state, at=103.5)
    assert value(metrics, "step_attempts_total", {"step": "rollback", "result": result}) == 1
    measured = value(metrics, "undo_seconds_sum", {"step": "rollback"})
    assert measured == (2.5 if state is StepState.DELIVERED else 0.0)


def test_a_turn_settles_once(metrics: Metrics) -> None:
    done = replace(TURN, state=State.CANCELLED, cause=Cause.RESET, cancelled_at=101.0, settled_at=102.0)
    metrics.turn_moved(TURN, done)
    metrics.turn_moved(done, done)
    assert value(metrics, "turns_settled_total", {"route": "/chat", "cause": "reset", "state": "cancelled"}) == 1
    assert value(metrics, "turns_cancelled_total", {"route": "/chat", "cause": "reset"}) == 1


@pytest.mark.parametrize(
    ("status", "named"), [(200, "2xx"), (101, "1xx"), (404, "4xx"), (499, "499"), (503, "5xx"), (0, "none")]
)
def test_statuses_count_by_class_but_for_the_one_that_means_gone(metrics: Metrics, status: int, named: str) -> None:
    metrics.exchange_ended(status, None)
    assert value(metrics, "exchanges_total", {"status": named}) == 1


def test_what_failed_counts_by_its_code(metrics: Metrics) -> None:
    metrics.exchange_ended(502, "upstream_unreachable")
    assert value(metrics, "relay_errors_total", {"kind": "upstream_unreachable"}) == 1


def test_bodies_that_nobody_looked_into_count_by_route(metrics: Metrics) -> None:
    metrics.body_not_inspected("/chat")
    assert value(metrics, "bodies_not_inspected_total", {"route": "/chat"}) == 1


def test_two_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.exchange_ended(200, None)
    assert value(other, "exchanges_total", {"status": "2xx"}) == 0
