"""pydantic's errors in the operator's words: each type of error is mapped once, here, to what is wrong and its mend."""

from __future__ import annotations

from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, get_args

from pydantic import BaseModel

from sidecar.config.problems import Loc, Problem, key_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

_EXAMPLES: Final[Mapping[str, str]] = MappingProxyType(
    {"url": "http://127.0.0.1:9000", "method": "POST", "path": "/admin/requests/{request_id}/cancel"}
)
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


def explain(error: ErrorDetails, root: type[BaseModel]) -> Problem:
    """Put a validation error of the model `root` into the operator's words."""
    loc = tuple(part for part in error["loc"] if part != "[key]")
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return Problem(loc, str(context["error"]))
    if kind == "extra_forbidden":
        return _unknown_key(loc, root)
    if kind == "missing":
        name = str(loc[-1])
        return Problem(loc, "is missing", f'write for example {name} = "{_EXAMPLES.get(name, "...")}"')
    if kind == "literal_error":
        return Problem(loc, f"must be {context['expected']}", "write one of these")
    if kind in {"too_short", "string_too_short"}:
        return Problem(loc, "is empty", "write at least one, or leave the line out for the default")
    if kind in _BOUNDS:
        relation, name = _BOUNDS[kind]
        return Problem(loc, f"must be {relation} {context[name]:g}, is {error['input']}", "write such a number")
    if kind in _WANTED:
        wanted, mend = _WANTED[kind]
        return Problem(loc, f"must be {wanted}, is {kind_of(error['input'])}", mend)
    return Problem(loc, "cannot be used", "config.example.toml shows its form")


def kind_of(value: object) -> str:
    """Name the kind of a TOML value, and never the value itself."""
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def keys_of(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """Give a table's keys as they are written in the file, each with the table that it holds, if it holds one."""
    fields = model.model_fields
    return {field.alias or name: _table_in(field.annotation) for name, field in fields.items()}


def _table_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((table for part in get_args(annotation) if (table := _table_in(part))), None)


def _unknown_key(loc: Loc, root: type[BaseModel]) -> Problem:
    name, table = str(loc[-1]), _table_at(loc[:-1], root)
    known = list(keys_of(table))
    if near := get_close_matches(name.lower(), known, n=1):
        mend = f"did you mean {near[0]}?"
    elif homes := [home for home in _homes(name, root) if home != loc]:
        mend = f"did you mean {' or '.join(map(key_text, homes))}?"
    else:
        mend = f"known here: {', '.join(known)}"
    return Problem(loc, "is no setting", mend)


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
