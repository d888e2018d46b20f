"""Header fields: cut out of a head by the grammar of RFC 9110, 5, in the order, case and number in which they came.

No white space before the colon, no line folding, no bare CR or LF, no control character but the tab.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from sidecar.errors import HeadTooLargeError, MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Field: TypeAlias = tuple[bytes, bytes]

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]"
_SECTION: Final = re.compile(rb"(?:%b++:%b*+\r\n)*+" % (TOKEN, VALUE))


class Fields(tuple[Field, ...]):  # noqa: SLOT001  (what is derived is kept)
    """The fields of one head: (name, value) pairs as they came, the white space around values left out."""

    by_name: dict[bytes, list[bytes]]
    """The values in their order, by the names in lower case."""

    def __getattr__(self, attribute: str) -> dict[bytes, list[bytes]]:
        """Derive `by_name` when it is first asked for; from then on it is found, which costs no call."""
        if attribute != "by_name":
            raise AttributeError(attribute)
        values: dict[bytes, list[bytes]] = {}
        for name, value in self:
            values.setdefault(name.lower(), []).append(value)
        self.by_name = values
        return values

    def get(self, name: bytes) -> bytes | None:
        """Give the first value of a field, known by its name in any case."""
        values = self.by_name.get(name.lower())
        return values[0] if values else None

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """Give all values of a field."""
        return tuple(self.by_name.get(name.lower(), ()))

    def options(self, name: bytes) -> set[bytes]:
        """Give the members of a field that is a list of tokens, in lower case (RFC 9110, 5.6.1)."""
        listed = self.by_name.get(name)
        return {option.strip(b" \t").lower() for value in listed for option in value.split(b",")} if listed else set()


def parse_fields(section: bytes, *, line_bytes_max: int, fields_max: int) -> Fields:
    """Read a field section, each line of it ending in CRLF. Raises MalformedError, HeadTooLargeError."""
    if not _SECTION.fullmatch(section):
        raise MalformedError("a header field is ill-formed")
    lines = section.split(b"\r\n")
    lines.pop()
    if len(lines) > fields_max:
        raise HeadTooLargeError(f"more than {fields_max} header fields")
    if len(section) > line_bytes_max and max(map(len, lines)) > line_bytes_max:
        raise HeadTooLargeError(f"a header field is longer than {line_bytes_max} bytes")
    return Fields([(name, value.strip(b" \t")) for name, _, value in [line.partition(b":") for line in lines]])


def persists(fields: Fields, version: str) -> bool:
    """Say whether whoever sent a head of `1.0` or `1.1` means the connection to outlive the message (RFC 9112, 9.3)."""
    if b"connection" not in fields.by_name:
        return version == "1.1"
    options = fields.options(b"connection")
    return b"close" not in options and (version == "1.1" or b"keep-alive" in options)


def field_values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """Give the values of the fields of that name (in lower case)."""
    return [value for field, value in fields if field.lower() == name]


def with_fields(fields: Sequence[Field], added: Iterable[Field]) -> list[Field]:
    """Set fields: each replaces the first of its name in place (others of the name go), or comes last."""
    result = list(fields)
    for name, value in added:
        lowered = name.lower()
        places = [place for place, field in enumerate(result) if field[0].lower() == lowered]
        if places:
            result[places[0]] = (result[places[0]][0], value)
            result = [field for place, field in enumerate(result) if place not in places[1:]]
        else:
            result.append((name, value))
    return result


def without(fields: Iterable[Field], *names: bytes) -> list[Field]:
    """Leave out the fields of those names (in lower case)."""
    return [field for field in fields if field[0].lower() not in names]


def head_bytes(start_line: bytes, fields: Iterable[Field]) -> bytes:
    """Put a head together."""
    return b"\r\n".join([start_line, *map(b": ".join, fields), b"\r\n"])
