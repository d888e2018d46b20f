"""Header fields as they came: names in any case, values as bytes, several of the same name in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Fields: TypeAlias = "Sequence[tuple[bytes, bytes]]"


def field_text(fields: Fields, name: str) -> str | None:
    """Give the first field of that name (ASCII), or None where there is none."""
    wanted = name.lower().encode("ascii")
    return next((_decode(value) for key, value in fields if key.lower() == wanted), None)


def _decode(value: bytes) -> str:
    """Read a value as UTF-8 where it is that, else as Latin-1 (RFC 9110, 5.5), without white space at its ends."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text.strip(" \t")
