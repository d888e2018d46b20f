"""pydantic's errors in the operator's words: each type of error is mapped once, here, to what is wrong and its mend."""

from __future__ import annotations

import math
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, get_args

from pydantic import BaseModel

from sidecar.config.problems import Loc, Problem, key_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

_EXAMPLES: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("upstream", "url"): "http://127.0.0.1:9000",
        ("admin", "method"): "POST",
        ("admin", "path"): "/admin/requests/{request_id}/cancel",
        ("guard", "path"): "/api/conversations/{conversation_id}",
    }
)
HOMES_MAX: Final = 3
NUMBER_CHARS_MAX: Final = 40
_WANTED: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "string_type": ("text", "write it in quotes"),
        "string_unicode": ("text of Unicode characters", "remove what is not"),
        "float_type": ("a number", "write it without quotes"),
        "float_parsing": ("a number", "write it without quotes"),
        "int_type": ("a whole number", "write it without quotes"),
        "int_parsing": ("a whole number", "write it without quotes"),
        "int_parsing_size": ("a whole number of a sensible size", "write a smaller one"),
        "int_from_float": ("a whole number", "write it without a fraction"),
        "finite_number": ("a finite number", "write the longest time or the largest number that you can accept"),
        "bool_type": ("true or false", "write it without quotes"),
        "bool_parsing": ("true or false", "write it without quotes"),
        "tuple_type": ("an array", "enclose it in [ ]; a section that may come several times is headed [[ ]]"),
        "list_type": ("an array", "enclose it in [ ]"),
        "frozen_set_type": ("an array", "enclose it in [ ]"),
        "dict_type": ("a table", "write { NAME = VALUE }, or a section headed [ ]"),
        "model_type": ("a table", "write { NAME = VALUE }, or a section headed [ ]"),
        "model_attributes_type": ("a table", "write { NAME = VALUE }, or a section headed [ ]"),
    }
)
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "greater_than": ("greater than", "gt"),
        "greater_than_equal": ("at least", "ge"),
        "less_than": ("less than", "lt"),
        "less_than_equal": ("at most", "le"),
    }
)
_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (bool, "true or false"),  # before int, which it is too
    (int, "a number"),
    (float, "a number with a fraction"),
    (str, "text"),
    ((list, tuple), "an array"),
    (dict, "a table"),
)


def explain(error: ErrorDetails, root: type[BaseModel]) -> Problem:
    """Put a validation error of the model `root` into the operator's words."""
    loc = tuple(part for part in error["loc"] if part != "[key]")
    match error["type"]:
        case "value_error":
            what, mend = str(error["ctx"]["error"]), ""
        case "extra_forbidden":
            what, mend = "is no setting", _nearest(loc, root)
        case "missing":
            example = _EXAMPLES.get((str(loc[0]), str(loc[-1])), "...")
            what, mend = "is missing", f'write for example {loc[-1]} = "{example}"'
        case "literal_error" | "enum":
            what, mend = f"must be {error['ctx']['expected']}", "write one of these"
        case "too_short":
            what, mend = "is empty", "write at least one, or leave the line out for the default"
        case bounded if bounded in _BOUNDS:
            relation, name = _BOUNDS[bounded]
            what = f"must be {relation} {_plain(error['ctx'][name])}, is {_plain(error['input'])}"
            mend = "write such a number"
        case mistyped if mistyped in _WANTED:
            wanted, mend = _WANTED[mistyped]
            what = f"must be {wanted}, is {kind_of(error['input'])}"
        case _:
            what, mend = "cannot be used", "config.example.toml shows its form"
    return Problem(loc, what, mend)


def kind_of(value: object) -> str:
    """Name the kind of a TOML value, and never the value itself."""
    if isinstance(value, float) and not math.isfinite(value):
        return "inf or nan"
    return next((name for kinds, name in _KINDS if isinstance(value, kinds)), "a date or time")


def keys_of(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """Give a table's keys as they are written in the file, each with the table that it holds, if it holds one."""
    fields = model.model_fields
    return {field.alias or name: _table_in(field.annotation) for name, field in fields.items()}


def _table_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((table for part in get_args(annotation) if (table := _table_in(part))), None)


def _plain(number: object) -> str:
    """Write a number as the operator would, within a line."""
    text = f"{int(number)}" if isinstance(number, float) and number.is_integer() else f"{number}"
    return text if len(text) <= NUMBER_CHARS_MAX else f"{text[:NUMBER_CHARS_MAX]}..."


def _nearest(loc: Loc, root: type[BaseModel]) -> str:
    """Say which setting an unknown one may have meant: of that name elsewhere, of a like name here, or any here."""
    name, known = str(loc[-1]), list(keys_of(_table_at(loc[:-1], root)))
    homes = list(_homes(name, root))
    if 0 < len(homes) <= HOMES_MAX:
        return f"did you mean {' or '.join(map(key_text, homes))}?"
    if near := get_close_matches(name.lower(), known, n=1):
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(known)}"


def _table_at(loc: Loc, root: type[BaseModel]) -> type[BaseModel]:
    table = root
    for part in loc:
        if isinstance(part, str):
            table = keys_of(table).get(part) or table
    return table


def _homes(name: str, table: type[BaseModel], above: Loc = ()) -> Iterator[Loc]:
    """Give every place of the file where a key of that name has its home."""
    for key, below in keys_of(table).items():
        if key == name:
            yield (*above, key)
        if below:
            yield from _homes(name, below, (*above, key))
