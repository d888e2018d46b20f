"""What one principal may have, by count and by minute; what has left, or is long ago, counts no more."""

from __future__ import annotations

import pytest

from sidecar.downstream.quota import ASKERS_MAX, WINDOW_S, Quota
from sidecar.errors import TooManyError


def test_turns_are_counted_by_principal_until_they_leave() -> None:
    quota = Quota()
    quota.enter("p1", limit=2)
    quota.enter("p1", limit=2)
    quota.enter("p2", limit=2)
    with pytest.raises(TooManyError):
        quota.enter("p1", limit=2)
    quota.leave("p1")
    quota.enter("p1", limit=2)
    for _ in range(2):
        quota.leave("p1")
    quota.leave("p2")
    assert not quota._under_way


def test_zero_is_no_limit() -> None:
    quota = Quota()
    for _ in range(100):
        quota.enter("p1", limit=0)
        quota.ask("p1", limit=0, now=0.0)


def test_requests_to_cancel_are_counted_by_the_minute() -> None:
    quota = Quota()
    quota.ask("p1", limit=2, now=10.0)
    quota.ask("p1", limit=2, now=11.0)
    quota.ask("p2", limit=2, now=11.0)
    with pytest.raises(TooManyError):
        quota.ask("p1", limit=2, now=10.0 + WINDOW_S - 0.1)
    quota.ask("p1", limit=2, now=10.0 + WINDOW_S)


def test_askers_are_bounded_in_number() -> None:
    quota = Quota()
    for number in range(ASKERS_MAX + 10):
        quota.ask(f"p{number}", limit=1, now=0.0)
    assert len(quota._asked) == ASKERS_MAX
