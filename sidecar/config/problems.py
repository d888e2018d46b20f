"""A problem of the configuration as a line: the key, what is wrong, the mend. No secret is ever in it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Loc: TypeAlias = tuple[str | int, ...]
"""The way to a value from the top of the file: table keys, and indexes of arrays."""

MASKED_CHARS_MIN: Final = 4  # shorter values are no secrets, and stand by chance in every other sentence
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a place of the file, and its mend (empty where `what` already says it).

    `relies_on` names the places that were looked at: where one of them has a problem of its own, this one may be
    nothing but its consequence, and is not told.
    """

    loc: Loc
    what: str
    mend: str = ""
    relies_on: tuple[Loc, ...] = ()

    def line(self, filled_in: Mapping[str, str]) -> str:
        """Give the line; values from the environment (by name) appear as their `${NAME}`."""
        text = _mask(f"{self.what}; {self.mend}" if self.mend else self.what, filled_in)
        return f"{key_text(self.loc)}: {_printable(' '.join(text.split()))}"


def key_text(loc: Loc) -> str:
    """Write a place as the operator would: `chat[1].capture.request_id`; keys that TOML quotes are quoted."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else json.dumps(part))
    return text


def touches(one: Loc, other: Loc) -> bool:
    """Say whether one place holds the other, or is it."""
    return all(mine == yours for mine, yours in zip(one, other, strict=False))


def _printable(text: str) -> str:
    """Escape what a terminal might obey."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _mask(text: str, filled_in: Mapping[str, str]) -> str:
    """Put the names of environment variables back where their values show."""
    for name, value in sorted(filled_in.items(), key=lambda item: -len(item[1])):
        for form in {value, repr(value)[1:-1]}:
            if len(form) >= MASKED_CHARS_MIN:
                text = text.replace(form, f"${{{name}}}")
    return text
