"""The table says at a glance what is left, fits 80 columns, and nothing that differs goes untold."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from sidecar.demo.backend import KeptConversation
from sidecar.demo.scenes import Deed, Leftover
from sidecar.demo.table import closing_lines, comparison, differences

ID = "mobile-1701234567-abcdef123"


def left(deed: Deed, words_made: int, *, kept: int | None) -> Leftover:
    conversation = KeptConversation(id=ID, status="active", request_ids=frozenset({"r"}), words=kept or 0)
    return Leftover(deed=deed, kept=None if kept is None else conversation, words_made=words_made, words=14)


STRAIGHT = tuple(left(deed, 14, kept=14) for deed in Deed)
THROUGH = (left(Deed.READ, 14, kept=14), left(Deed.LEFT, 5, kept=None), left(Deed.CANCELLED, 0, kept=None))


def printed(*, terminal: bool) -> str:
    out = StringIO()
    Console(file=out, width=80, force_terminal=terminal, color_system="standard" if terminal else None).print(
        comparison(STRAIGHT, THROUGH)
    )
    return out.getvalue()


def test_the_table_fits_80_columns_and_is_plain_when_piped() -> None:
    text = printed(terminal=False)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "\x1b" in printed(terminal=True)


def test_the_table_tells_each_chat() -> None:
    text = printed(terminal=False)
    assert text.count("kept: a ghost") == 2
    assert text.count(ID) == 4
    assert text.count("nothing left") == 2
    assert "stopped after 5 of 14 words" in text
    assert "not a word generated" in text


def test_the_closing_lines_sum_up() -> None:
    lines = closing_lines(STRAIGHT, THROUGH)
    assert "without the sidecar: 2, with it: 0." in lines
    assert "saved: 23 (" in lines


def test_as_promised() -> None:
    assert differences(STRAIGHT, THROUGH) == []


@pytest.mark.parametrize(
    ("number", "change", "told"),
    [
        (0, left(Deed.READ, 14, kept=None), "no conversation is kept"),
        (0, left(Deed.READ, 14, kept=7), "only 7 of 14 words"),
        (1, left(Deed.LEFT, 5, kept=0), "is still there"),
        (1, left(Deed.LEFT, 14, kept=None), "generated to its end"),
        (2, left(Deed.CANCELLED, 14, kept=14), "is still there"),
        (2, replace(THROUGH[2], trouble="ClientError: x"), "ClientError: x"),
    ],
)
def test_each_difference_through_the_sidecar_is_told(number: int, change: Leftover, told: str) -> None:
    through = [*THROUGH]
    through[number] = change
    (line,) = differences(STRAIGHT, through)
    assert line.startswith(f"through the sidecar, the person who {change.deed}: ")
    assert told in line


def test_a_ghost_that_is_missing_without_the_sidecar_is_told() -> None:
    straight = (*STRAIGHT[:2], left(Deed.CANCELLED, 0, kept=None))
    (line,) = differences(straight, THROUGH)
    assert line == "straight to the backend, the person who cancels before the first word: no conversation is kept"
