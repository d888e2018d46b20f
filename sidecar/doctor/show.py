"""Findings for people, calm and readable at 80 columns, and for programs, as JSON. Pure: texts come out.

What peers said is shown as plain text, never as markup.
"""

from __future__ import annotations

import json
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from rich.text import Text

from sidecar.doctor.findings import Grade, failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sidecar.doctor.findings import Chapter, Finding

WIDTH_MIN: Final = 40
MARGIN: Final = 8
_MARKS: Final = {
    Grade.OK: ("ok", "green"),
    Grade.WARN: ("warn", "yellow"),
    Grade.FAIL: ("FAIL", "bold red"),
    Grade.SKIP: ("-", "dim"),
}
_MEND: Final = ("mend", "cyan")


def chapter_lines(chapter: Chapter, width: int) -> Iterator[Text]:
    """Lay out a chapter: its title, then a finding a line, what to change below it."""
    yield Text(f"\n{chapter.title}", style="bold")
    for finding in chapter.findings:
        style = "dim" if finding.grade is Grade.SKIP else ""
        yield from _row(_MARKS[finding.grade], finding.what, style, width)
        for mend in finding.mends:
            yield from _row(_MEND, mend, "", width)


def closing_line(chapters: Sequence[Chapter]) -> Text:
    """Sum up: what has to be changed, and what could be."""
    counts = {grade: sum(finding.grade is grade for finding in _all(chapters)) for grade in Grade}
    if counts[Grade.FAIL]:
        return Text(f"\n{_number(counts[Grade.FAIL], 'thing')} to change.", style="bold red")
    if counts[Grade.WARN]:
        return Text(f"\nIt works; {_number(counts[Grade.WARN], 'thing')} could be better.", style="bold yellow")
    return Text("\nAll is well.", style="bold green")


def as_json(url: str, chapters: Sequence[Chapter]) -> str:
    """Give everything as a JSON object."""
    findings = [
        {
            "check": finding.check,
            "grade": finding.grade,
            "chapter": chapter.title,
            "what": finding.what,
            "mends": list(finding.mends),
        }
        for chapter in chapters
        for finding in chapter.findings
    ]
    return json.dumps({"url": url, "ok": not failed(chapters), "findings": findings}, indent=2) + "\n"


def _row(mark: tuple[str, str], text: str, style: str, width: int) -> Iterator[Text]:
    """Write a mark, and a text beside it that is folded at words."""
    word, colour = mark
    plain = "".join(char if char.isprintable() else " " for char in text)
    for number, line in enumerate(wrap(plain, max(width, WIDTH_MIN) - MARGIN, break_on_hyphens=False)):
        yield Text.assemble((f"{'' if number else word:>6}  ", colour), (line, style))


def _all(chapters: Sequence[Chapter]) -> Iterator[Finding]:
    for chapter in chapters:
        yield from chapter.findings


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
