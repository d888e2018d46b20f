"""The grammar of capture sources: `PLACE:NAME`, optionally followed by ` ~ REGEX` with one group.

    request.header:NAME   request.json:/POINTER   request.path:NAME   request.query:NAME
    response.header:NAME  stream.json:/POINTER    cancel.json:/POINTER

`stream.json` looks into each line of NDJSON and the data of each SSE event; `cancel.json` into the answer of the
admin API's cancel call. A POINTER is RFC 6901's. What a source finds is bounded, and is an answer only if `usable`.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sidecar.capture.pointer import parse_pointer

VALUE_CHARS_MAX: Final = 512
FOUND_CHARS_MAX: Final = 16_384
"""What a pattern is still tried on: more than any header field holds."""


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
ANSWER_PLACES: Final = frozenset({Place.RESPONSE_HEADER, Place.STREAM_JSON})
_JSON_PLACES: Final = frozenset({Place.REQUEST_JSON, Place.STREAM_JSON, Place.CANCEL_JSON})
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token: RFC 9110, 5.6.2
_NAME_FORMS: Final = MappingProxyType(
    {
        Place.REQUEST_HEADER: (_FIELD_NAME, "X-Request-Id"),
        Place.RESPONSE_HEADER: (_FIELD_NAME, "X-Conversation-Id"),
        Place.REQUEST_PATH: (re.compile(r"[A-Za-z_][A-Za-z0-9_]*"), "app"),
        Place.REQUEST_QUERY: (re.compile(r"\S(.*\S)?"), "chat_id"),
    }
)
_DELIMITER: Final = r"[/\\]|%(?:25)*+(?:2f|5c)"
_WALKS_UP: Final = re.compile(  # a dot segment, whatever of it is percent-encoded, and how often
    rf"(?:^|{_DELIMITER})(?:\.|%(?:25)*+2e){{1,2}}(?:$|[;?#]|%(?:25)*+(?:3b|3f|23)|{_DELIMITER})", re.IGNORECASE
)


class SourceSyntaxError(ValueError):
    """The text is no source; the message says what is wrong and how it is mended."""


@dataclass(frozen=True, slots=True)
class Source:
    """A place to look at: a header's, path's or query's name, or a JSON pointer; and a pattern with one group.

    `tokens` are the pointer's. Raises SourceSyntaxError where the name is none that the place can have.
    """

    place: Place
    name: str
    pattern: re.Pattern[str] | None = None
    tokens: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", _read_name(self.place, self.name))

    def __str__(self) -> str:
        text = f"{self.place}:{self.name}"
        return text if self.pattern is None else f"{text} ~ {self.pattern.pattern}"

    def refine(self, value: str | None) -> str | None:
        """Apply the pattern and the bounds to a raw value; None where the source then does not answer."""
        if value is None or len(value) > FOUND_CHARS_MAX:
            return None
        if self.pattern is not None:
            match = self.pattern.search(value)
            value = match.group(1) if match else None
        return value if value is not None and usable(value) else None


def usable(value: str) -> bool:
    """Say whether a value may serve as an id: not blank, printable, of a bounded length, and without dot segments.

    What is printable holds neither a line's end nor a surrogate, so it fits a header and a file. A dot segment would
    lead a path to another place wherever one decodes more than it should (RFC 3986, 5.2.4 and 6.2.2.2), or cuts it
    at a sign that was none.
    """
    bounded = 0 < len(value) <= VALUE_CHARS_MAX and value.isprintable()
    return bounded and (bare := value.strip()) != "" and not _WALKS_UP.search(bare)


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
    return Source(place, name, _parse_pattern(pattern.strip()) if tilde else None)


def _read_name(place: Place, name: str) -> tuple[str, ...]:
    """Give a pointer's tokens, none for other names. Raises SourceSyntaxError."""
    if place in _JSON_PLACES:
        return _read_pointer(place, name)
    form, example = _NAME_FORMS[place]
    if not form.fullmatch(name):
        raise SourceSyntaxError(f"{name!r} cannot be a name there; write for example {place}:{example}")
    return ()


def _read_pointer(place: Place, name: str) -> tuple[str, ...]:
    if not name.startswith("/"):
        raise SourceSyntaxError(f"{name!r} is no JSON pointer (RFC 6901); write {place}:/{name.lstrip(' /')}")
    try:
        return parse_pointer(name)
    except ValueError as error:
        raise SourceSyntaxError(f"{name!r} is no JSON pointer (RFC 6901): {error}") from None


def _parse_pattern(text: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what a later Python may read in it
            pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise SourceSyntaxError(f"{text!r} is no regular expression: {error}") from None
    if pattern.groups != 1:
        raise SourceSyntaxError(f"{text!r} has {pattern.groups} groups; enclose the wanted part in exactly one ( )")
    return pattern
