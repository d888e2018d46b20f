"""JSON pointers (RFC 6901), and JSON as peers send it: anything may come, and only a readable value is an answer.

Numbers are kept as the text in which they were sent, so that an id such as 12345678901234567890 or 1.0 stays the one
that the upstream knows. Reading is as lenient as the most lenient backend (control characters, NaN, a BOM; of duplicate
keys the last): to miss the conversation that a request names would be worse than to find it in a flawed text.
"""

from __future__ import annotations

import json
import re
from typing import Final

_BAD_ESCAPE: Final = re.compile(r"~(?![01])")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_BOM: Final = "\ufeff"
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)


def read_json(data: bytes) -> object:
    """Read a JSON text (RFC 8259) in UTF-8. Raises ValueError where it is none, or nested too deeply to be read."""
    text = data.decode("utf-8")
    try:
        return _DECODER.decode(text.removeprefix(_BOM))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_pointer(text: str) -> tuple[str, ...]:
    """Split a pointer into its reference tokens (RFC 6901, 3 and 4); of the whole document it has none.

    Raises ValueError.
    """
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r} does not begin with '/'; write {'/' + text!r}")
    if _BAD_ESCAPE.search(text):
        raise ValueError(f"{text!r} has a lone '~'; write '~0' for '~' and '~1' for '/' in a key")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])


def is_index(token: str) -> bool:
    """Say whether a token may name an array's element: digits without a leading zero, at most nine."""
    return _INDEX.fullmatch(token) is not None


def resolve(document: object, tokens: tuple[str, ...]) -> str | None:
    """Give the value that the pointer names, as a text; None for null, an object, an array, or nothing there."""
    found = document
    for token in tokens:
        match found:
            case dict() if token in found:
                found = found[token]
            case list() if is_index(token) and int(token) < len(found):
                found = found[int(token)]
            case _:
                return None
    return _as_text(found)


def _as_text(value: object) -> str | None:
    match value:
        case str():
            return value
        case int() | float():  # bool is an int, too
            return _scalar_text(value)
        case _:
            return None


def _scalar_text(value: float) -> str | None:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:  # no number in JSON, or of more digits than Python writes
        return None
