"""The pace of retries: bounded, growing, never sooner than asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.turn.retry import ARRIVAL_MAX_S, RETRY_AFTER_MAX_S, Backoff, gone_counts, retry_delay_s
from tests.unit.turn.playbook import opened

DEFAULT = Backoff(first_s=0.5, max_s=300.0, attempts_max=20)

backoffs = st.builds(
    Backoff,
    first_s=st.floats(0.001, 100),
    max_s=st.floats(0.001, 10_000),
    attempts_max=st.integers(1, 10_000),
)
jitters = st.floats(0, 1, exclude_max=True)
asked = st.none() | st.floats(0, 1e9)


@pytest.mark.parametrize("attempts", range(1, 20))
def test_without_jitter_it_doubles_up_to_the_longest_wait(attempts: int) -> None:
    full_s = min(300.0, 0.5 * 2.0 ** (attempts - 1))
    assert retry_delay_s(DEFAULT, attempts=attempts, jitter=0.0, retry_after_s=None) == full_s / 2


@pytest.mark.parametrize("attempts", [20, 21, 1000])
def test_there_is_a_last_attempt(attempts: int) -> None:
    assert retry_delay_s(DEFAULT, attempts=attempts, jitter=0.0, retry_after_s=None) is None


@given(backoff=backoffs, jitter=jitters, retry_after_s=asked)
def test_none_is_given_exactly_from_the_last_attempt_on(
    backoff: Backoff, jitter: float, retry_after_s: float | None
) -> None:
    last = backoff.attempts_max
    assert retry_delay_s(backoff, attempts=last, jitter=jitter, retry_after_s=retry_after_s) is None
    if last > 1:
        assert retry_delay_s(backoff, attempts=last - 1, jitter=jitter, retry_after_s=retry_after_s) is not None


@given(backoff=backoffs, attempts=st.integers(1, 100_000), jitter=jitters)
def test_the_wait_is_bounded_on_both_sides(backoff: Backoff, attempts: int, jitter: float) -> None:
    delay_s = retry_delay_s(backoff, attempts=attempts, jitter=jitter, retry_after_s=None)
    if delay_s is not None:
        assert min(backoff.first_s, backoff.max_s) / 2 <= delay_s <= backoff.max_s


@given(backoff=backoffs, attempts=st.integers(1, 9_998), jitter=jitters)
def test_the_wait_never_shrinks_with_the_attempts(backoff: Backoff, attempts: int, jitter: float) -> None:
    sooner = retry_delay_s(backoff, attempts=attempts, jitter=jitter, retry_after_s=None)
    later = retry_delay_s(backoff, attempts=attempts + 1, jitter=jitter, retry_after_s=None)
    if sooner is not None and later is not None:
        assert sooner <= later


@given(attempts=st.integers(1, 19), jitter=jitters)
def test_jitter_spreads_over_the_upper_half(attempts: int, jitter: float) -> None:
    least = retry_delay_s(DEFAULT, attempts=attempts, jitter=0.0, retry_after_s=None)
    delay_s = retry_delay_s(DEFAULT, attempts=attempts, jitter=jitter, retry_after_s=None)
    assert least is not None
    assert delay_s is not None
    assert delay_s == pytest.approx(least * (1 + jitter))


@given(backoff=backoffs, attempts=st.integers(1, 9_999), jitter=jitters, retry_after_s=st.floats(0, 1e9))
def test_never_sooner_than_asked_within_an_hour(
    backoff: Backoff, attempts: int, jitter: float, retry_after_s: float
) -> None:
    delay_s = retry_delay_s(backoff, attempts=attempts, jitter=jitter, retry_after_s=retry_after_s)
    if delay_s is not None:
        assert min(retry_after_s, RETRY_AFTER_MAX_S) <= delay_s <= max(backoff.max_s, RETRY_AFTER_MAX_S)


def test_asking_for_less_does_not_hurry_it() -> None:
    assert retry_delay_s(DEFAULT, attempts=10, jitter=0.0, retry_after_s=1.0) == 128.0


@given(unknown_for_s=st.floats(0, 1e6))
def test_gone_counts_only_once_the_upstream_must_have_heard(unknown_for_s: float) -> None:
    turn = opened()
    assert gone_counts(turn, unknown_for_s=unknown_for_s) == (unknown_for_s >= ARRIVAL_MAX_S)
    assert gone_counts(replace(turn, answer_began_at=turn.created_at), unknown_for_s=unknown_for_s)
