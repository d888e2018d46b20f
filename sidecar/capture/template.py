"""Texts with `{names}` that captured values fill in: paths, header values and JSON of admin calls.

A value is encoded for the place it goes to, so that no id can reach another path, host, header or JSON key.
`{{` and `}}` stand for the braces themselves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


class TemplateSyntaxError(ValueError):
    """The text has a brace that belongs to no name."""


def names_in(text: str) -> frozenset[str]:
    """Give the names in a template. Raises TemplateSyntaxError."""
    names = set()
    for token in _TOKEN.finditer(text):
        if token.group() in "{}":
            raise TemplateSyntaxError(
                f"a lone {token.group()!r} in {text!r}; write {token.group() * 2!r} for a brace; "
                "a name is of letters, digits and '_'"
            )
        if token.group(1):
            names.add(token.group(1))
    return frozenset(names)


def names_in_json(value: Json) -> frozenset[str]:
    """Give the names in all strings of a JSON template; keys are no templates. Raises TemplateSyntaxError."""
    match value:
        case str():
            return names_in(value)
        case list():
            return frozenset().union(*map(names_in_json, value))
        case dict():
            return frozenset().union(*map(names_in_json, value.values()))
        case _:
            return frozenset()


def render_path(text: str, values: Mapping[str, str]) -> str:
    """Fill in a path or query: each value percent-encoded whole, a dot segment's dots too (RFC 3986, 3.3)."""
    return _render(text, values, _quote_segment)


def render_header(text: str, values: Mapping[str, str]) -> str:
    """Fill in a header's value. Captured values are printable, so none can end the line."""
    return _render(text, values, str)


def render_json(value: Json, values: Mapping[str, str]) -> Json:
    """Fill in every string of a JSON template; the encoder then quotes what has to be quoted."""
    match value:
        case str():
            return _render(value, values, str)
        case list():
            return [render_json(item, values) for item in value]
        case dict():
            return {key: render_json(item, values) for key, item in value.items()}
        case _:
            return value


def _quote_segment(value: str) -> str:
    quoted = quote(value, safe="")
    return quoted.replace(".", "%2E") if quoted in {".", ".."} else quoted


def _render(text: str, values: Mapping[str, str], encode: Callable[[str], str]) -> str:
    def fill(token: re.Match[str]) -> str:
        name = token.group(1)
        return encode(values[name]) if name else token.group()[0]

    return _TOKEN.sub(fill, text)
