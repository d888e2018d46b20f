"""`sidecar doctor`: sees, from a client's place, whether what stands in front lets the sidecar do its work.

`rounds` makes the visits (`client`) and compares them with the journal (`records`); `judge` makes findings of it, pure,
`fronts` knows what mends them, `show` lays them out.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from rich.console import Console

from sidecar.doctor.findings import Chapter, failed
from sidecar.doctor.rounds import CHATS, examine
from sidecar.doctor.show import as_json, chapter_lines, closing_line
from sidecar.doctor.target import Options, target_of
from sidecar.errors import OperatorError

if TYPE_CHECKING:
    from sidecar.config import Settings

__all__ = ["Options", "run"]

TO_CHANGE: Final = 1
WIDTH_MAX: Final = 100
_WARNING: Final = """\
This asks the backend up to {chats} times: {method} {url}
One answer is read to its end, the others are left or cancelled early.
It costs tokens. What it makes, it removes again, if the admin API lets it.
"""


def run(settings: Settings, options: Options, *, yes: bool, as_json_text: bool) -> int:
    """Examine, and show what was found. Give the exit code: 0, or 1 where something has to be changed.

    Raises OperatorError where it cannot be examined, or is not to be: it costs tokens, which `yes` agrees to.
    """
    target = target_of(settings, options)
    console = Console(highlight=False, emoji=False)
    warning = _WARNING.format(chats=CHATS, method=target.method, url=target.url)
    if not yes:
        _agree(console, warning, asks=sys.stdin.isatty() and not as_json_text)
    elif not as_json_text:
        console.print(warning, end="", markup=False, soft_wrap=True)

    def tell(chapter: Chapter) -> None:
        if not as_json_text:
            for line in chapter_lines(chapter, min(console.width, WIDTH_MAX)):
                console.print(line, soft_wrap=True)

    chapters = asyncio.run(examine(settings, options, tell))
    if as_json_text:
        sys.stdout.write(as_json(target.url, chapters))
    else:
        console.print(closing_line(chapters))
    return TO_CHANGE if failed(chapters) else 0


def _agree(console: Console, warning: str, *, asks: bool) -> None:
    """Have the operator agree. Raises OperatorError where nobody is to be asked, or who is does not."""
    if not asks:
        raise OperatorError(f"{warning.strip()}\nwrite --yes to go on")
    console.print(warning, end="", markup=False, soft_wrap=True)
    if console.input("Go on? [y/N] ", markup=False).strip().lower() not in {"y", "yes"}:
        raise OperatorError("nothing was asked")
