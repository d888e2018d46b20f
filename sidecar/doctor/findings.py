"""What an examination finds: a grade, what was seen, and what to change; in chapters, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Grade(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    WARN = "warn"
    """It works, but not as well as it could."""
    FAIL = "fail"
    SKIP = "skip"
    """It could not be told, or there is nothing to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `check` names it for programs; `mends` say what to change, the likeliest first."""

    check: str
    grade: Grade
    what: str
    mends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """What belongs together, for people."""

    title: str
    findings: tuple[Finding, ...]


def failed(chapters: Iterable[Chapter]) -> bool:
    """Say whether anything has to be changed."""
    return any(finding.grade is Grade.FAIL for chapter in chapters for finding in chapter.findings)


def ok(check: str, what: str) -> Finding:
    """Find that something is as it should be."""
    return Finding(check=check, grade=Grade.OK, what=what)


def warn(check: str, what: str, *mends: str) -> Finding:
    """Find that something could be better."""
    return Finding(check=check, grade=Grade.WARN, what=what, mends=mends)


def fail(check: str, what: str, *mends: str) -> Finding:
    """Find that something has to be changed."""
    return Finding(check=check, grade=Grade.FAIL, what=what, mends=mends)


def skip(check: str, what: str, *mends: str) -> Finding:
    """Find that something could not be told."""
    return Finding(check=check, grade=Grade.SKIP, what=what, mends=mends)


def time_text(seconds: float) -> str:
    """Write a short time as people read it: 3 ms, 1.2 s."""
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 1 else f"{seconds:.1f} s"
