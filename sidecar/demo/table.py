"""What is left of the chats, side by side, for a person to understand at once; and whether it is as promised. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from sidecar.demo.scenes import Deed, Leftover

if TYPE_CHECKING:
    from collections.abc import Sequence


def comparison(straight: Sequence[Leftover], through: Sequence[Leftover]) -> Table:
    """Lay out what both ways left: a row for each chat, in the same order."""
    table = Table(title="What the backend's database holds afterwards", title_justify="left", show_lines=True)
    table.add_column("The person", max_width=16)
    table.add_column("Straight to the backend", min_width=27)
    table.add_column("Through the sidecar", min_width=27)
    for without, with_ in zip(straight, through, strict=True):
        table.add_row(without.deed.value, _cell(without), _cell(with_))
    return table


def closing_lines(straight: Sequence[Leftover], through: Sequence[Leftover]) -> str:
    """Sum up both ways in numbers."""
    saved = _words_abandoned(straight) - _words_abandoned(through)
    return (
        f"Ghosts without the sidecar: {_ghosts(straight)}, with it: {_ghosts(through)}.\n"
        f"Tokens saved: {saved} (words that nobody would have read)."
    )


def differences(straight: Sequence[Leftover], through: Sequence[Leftover]) -> list[str]:
    """Say what is not as promised, a line each: the backend keeps all three whole, the sidecar only what was read."""
    return [
        *(f"straight to the backend, {text}" for left in straight for text in _troubles(left, kept=True)),
        *(f"through the sidecar, {text}" for left in through for text in _troubles(left, kept=left.deed is Deed.READ)),
    ]


def _troubles(left: Leftover, *, kept: bool) -> list[str]:
    troubles = [left.trouble] if left.trouble else []
    if kept and left.kept is None:
        troubles.append("no conversation is kept")
    elif kept and left.kept is not None and left.kept.words < left.words:
        troubles.append(f"only {left.kept.words} of {left.words} words are kept")
    elif not kept and left.kept is not None:
        troubles.append(f"conversation {left.kept.id} is still there")
    elif not kept and left.words_made >= left.words:
        troubles.append("the answer was generated to its end")
    return [f"the person who {left.deed}: {trouble}" for trouble in troubles]


def _cell(left: Leftover) -> Text:
    if left.kept is None:
        return Text.assemble(("nothing left", "bold green"), "\n", _effort(left))
    headline = ("kept: a ghost", "bold red") if left.ghost else ("kept", "bold green")
    return Text.assemble(headline, "\n", left.kept.id, "\n", _effort(left))


def _effort(left: Leftover) -> str:
    if left.words_made >= left.words:
        return f"{left.words_made} of {left.words} words generated"
    if left.words_made == 0:
        return "not a word generated"
    return f"stopped after {left.words_made} of {left.words} words"


def _ghosts(leftovers: Sequence[Leftover]) -> int:
    return sum(left.ghost for left in leftovers)


def _words_abandoned(leftovers: Sequence[Leftover]) -> int:
    return sum(left.words_made for left in leftovers if left.deed is not Deed.READ)
