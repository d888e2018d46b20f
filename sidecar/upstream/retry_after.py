"""Retry-After (RFC 9110, 10.2.3): seconds, or a date, which is read against the answer's own clock where it has one."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

_DIGITS_MAX: Final = 9


def retry_after_s(value: str | None, *, date: str | None, now: float) -> float | None:
    """Give the seconds to wait, 0 or more; None where the field is missing or nonsense.

    `date` is the answer's Date field, `now` the time in seconds since the epoch, for answers without a usable one.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[-_DIGITS_MAX:] if not text[:-_DIGITS_MAX].strip("0") else "9" * _DIGITS_MAX)
    until = _parse_date(text)
    if until is None:
        return None
    answered_at = _parse_date((date or "").strip())
    return max(0.0, until - (now if answered_at is None else answered_at))


def _parse_date(text: str) -> float | None:
    """Read an HTTP-date as seconds since the epoch."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
