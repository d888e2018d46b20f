"""The grammar of capture sources: `PLACE:NAME`, optionally followed by ` ~ REGEX` with one group.

    request.header:NAME   request.json:/POINTER   request.path:NAME   request.query:NAME
    response.header:NAME  stream.json:/POINTER    cancel.json:/POINTER

`stream.json` looks into each line of NDJSON and the data of each SSE event; `cancel.json` into the answer of the
admin API's cancel call. A POINTER is RFC 6901's. A value that the source finds is bounded by `usable`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

VALUE_CHARS_MAX: Final = 512


class Place(StrEnum):
    """Where a source looks."""

    REQUEST_HEADER = "request.header"
    REQUEST_JSON = "request.json"
    REQUEST_PATH = "request.path"
    REQUEST_QUERY = "request.query"
    RESPONSE_HEADER = "response.header"
    STREAM_JSON = "stream.json"
    CANCEL_JSON = "cancel.json"


REQUEST_PLACES: Final = frozenset({Place.REQUEST_HEADER, Place.REQUEST_JSON, Place.REQUEST_PATH, Place.REQUEST_QUERY})
_JSON_PLACES: Final = frozenset({Place.REQUEST_JSON, Place.STREAM_JSON, Place.CANCEL_JSON})


class SourceSyntaxError(ValueError):
    """The text is no source; the message says what is wrong and how it is mended."""


@dataclass(frozen=True, slots=True)
class Source:
    """A place to look at: a header's, path's or query's name, or a JSON pointer; and a pattern with one group."""

    place: Place
    name: str
    pattern: re.Pattern[str] | None = None

    def __str__(self) -> str:
        text = f"{self.place}:{self.name}"
        return text if self.pattern is None else f"{text} ~ {self.pattern.pattern}"

    def refine(self, value: str | None) -> str | None:
        """Apply the pattern and the bounds to a raw value; None where the source then does not answer."""
        if value is None:
            return None
        if self.pattern is not None:
            match = self.pattern.search(value)
            value = match.group(1) if match else None
        return value if value is not None and usable(value) else None


def usable(value: str) -> bool:
    """Say whether a value may serve as an id: not empty, printable, of a bounded length."""
    return 0 < len(value) <= VALUE_CHARS_MAX and value.isprintable()


def parse_source(text: str) -> Source:
    """Read a source. Raises SourceSyntaxError."""
    spec, tilde, pattern = text.partition(" ~ ")
    place_text, colon, name = spec.strip().partition(":")
    if not colon or not name:
        raise SourceSyntaxError(f"{text!r} is not PLACE:NAME; write for example request.header:X-Request-Id")
    try:
        place = Place(place_text)
    except ValueError:
        places = ", ".join(Place)
        raise SourceSyntaxError(f"{place_text!r} is no place to look at; use one of {places}") from None
    if place in _JSON_PLACES and not name.startswith("/"):
        raise SourceSyntaxError(f"{name!r} is no JSON pointer (RFC 6901); write {place}:/{name}")
    return Source(place, name, _parse_pattern(pattern.strip()) if tilde else None)


def _parse_pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise SourceSyntaxError(f"{text!r} is no regular expression: {error}") from None
    if pattern.groups != 1:
        raise SourceSyntaxError(f"{text!r} has {pattern.groups} groups; enclose the wanted part in exactly one ( )")
    return pattern
