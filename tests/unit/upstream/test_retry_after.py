"""Retry-After: seconds or a date; what is neither is as good as missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.upstream.retry_after import retry_after_s

NOON = "Fri, 31 Dec 1999 12:00:00 GMT"
NOON_S = 946_641_600.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0000000000000007", 7.0),
        ("9" * 5000, 999_999_999.0),
        ("Fri, 31 Dec 1999 12:00:30 GMT", 30.0),
        ("Friday, 31-Dec-99 12:00:30 GMT", 30.0),
        ("Fri Dec 31 12:00:30 1999", 30.0),
        ("Fri, 31 Dec 1999 11:00:00 GMT", 0.0),
    ],
)
def test_sense(value: str, seconds: float) -> None:
    assert retry_after_s(value, date=NOON, now=0) == seconds


@pytest.mark.parametrize("value", [None, "", " ", "-1", "+1", "1.5", "soon", "1 2", "²", "Fri, 99 Foo 1999", "1e3"])
def test_nonsense(value: str | None) -> None:
    assert retry_after_s(value, date=NOON, now=0) is None


@pytest.mark.parametrize("date", [None, "", "today"])
def test_without_a_date_of_the_answer_our_own_clock_counts(date: str | None) -> None:
    assert retry_after_s("Fri, 31 Dec 1999 12:00:30 GMT", date=date, now=NOON_S + 10) == 20.0


@given(st.text(max_size=40), st.text(max_size=40) | st.none())
def test_whatever_comes_is_read_or_left(value: str, date: str | None) -> None:
    seconds = retry_after_s(value, date=date, now=NOON_S)
    assert seconds is None or seconds >= 0
