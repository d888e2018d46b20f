"""The whole configuration as it takes effect, as TOML: every key with its value, and where that is from.

What `${NAME}` put in is shown as `${NAME}`; of what may be a secret (header values, bodies, tokens, queries) no more
than that, `{names}`, and the scheme of an Authorization. So the text can be passed around, and be loaded again where
nothing had to be masked. Pure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from sidecar.config.leaving import Reaction
from sidecar.config.preset import NOTHING, lay_over, look_up, preset_table
from sidecar.config.problems import key_text
from sidecar.config.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.config.problems import Loc
    from sidecar.config.settings import Settings

COMMENT_COLUMN: Final = 64
MASK: Final = "***"
_FILE: Final = "file"
_NO_SECRET: Final = re.compile(
    r"(?:(?:Bearer|Basic|Token|Bot|ApiKey)\s+)?(?:\$\{[A-Za-z_][A-Za-z0-9_]*\}|\{[A-Za-z_][A-Za-z0-9_]*\}|\s)*"
)
_QUERY_VALUE: Final = re.compile(r"(?<==)[^&]+")


def effective_toml(settings: Settings, table: Mapping[str, Any]) -> str:
    """Write the settings that were made of the operator's document `table`, which is as `read_table` gives it."""
    preset = settings.preset
    origins = _Origins(table, lay_over(preset_table(preset), table), preset)
    return "\n".join(_section(settings, (), origins)) + "\n"


@dataclass(frozen=True, slots=True)
class _Origins:
    """The operator's document, and the whole one: laid over its preset, references not yet filled in."""

    table: Mapping[str, Any]
    whole: Mapping[str, Any]
    preset: str

    def of(self, loc: Loc) -> str:
        if look_up(self.table, loc) is not NOTHING:
            return _FILE
        return f"preset {self.preset}" if look_up(self.whole, loc) is not NOTHING else "default"

    def shown(self, loc: Loc, value: object, *, secret: bool) -> object:
        """Give a value as it may be shown: as it was written where it refers to the environment, masked if need be."""
        written = look_up(self.whole, loc)
        plain = written if _refers(written) else _plain(value)
        return _masked(plain) if secret and self.of(loc) == _FILE else plain


def _section(section: Section, loc: Loc, origins: _Origins) -> Iterator[str]:
    """Write a table: first its own keys, then the tables below it."""
    below: list[tuple[Loc, object, bool]] = []
    for name, field in type(section).model_fields.items():
        value, at = getattr(section, name), (*loc, field.alias or name)
        if _is_table(value):
            below.append((at, value, not field.repr))
        elif value is None:
            yield f"# {key_text(at[-1:])} is not set"
        else:
            yield _line(at, value, origins, secret=not field.repr)
    for at, value, secret in below:
        yield from _table(at, value, origins, secret=secret)


def _table(at: Loc, value: object, origins: _Origins, *, secret: bool) -> Iterator[str]:
    head = key_text(tuple(part for part in at if isinstance(part, str)))
    match value:
        case Section():
            yield from ("", f"[{head}]")
            yield from _section(value, at, origins)
        case tuple():
            for index, entry in enumerate(value):
                yield from ("", f"[[{head}]]")
                yield from _section(entry, (*at, index), origins)
        case dict():
            yield from ("", f"[{head}]")
            for key, inner in value.items():
                yield _line((*at, key), inner, origins, secret=secret)


def _is_table(value: object) -> bool:
    """Say whether a value is written as a table of its own; a reaction is short enough for a line."""
    if isinstance(value, tuple):
        return bool(value) and all(isinstance(entry, Section) for entry in value)
    return isinstance(value, Section | dict) and not isinstance(value, Reaction) and bool(value)


def _line(at: Loc, value: object, origins: _Origins, *, secret: bool) -> str:
    shown = origins.shown(at, value, secret=secret)
    if at[-1] == "path" and at[0] == "admin" and isinstance(shown, str) and origins.of(at) == _FILE:
        shown = _without_query_values(shown)
    text = f"{key_text(at[-1:])} = {_toml(shown)}"
    return f"{text:<{COMMENT_COLUMN - 2}}  # {origins.of(at)}"


def _refers(written: object) -> bool:
    match written:
        case str():
            return "${" in written
        case list():
            return any(map(_refers, written))
        case dict():
            return any(map(_refers, written.values()))
        case _:
            return False


def _plain(value: object) -> object:  # noqa: PLR0911  (a case each)
    """Give a setting's value as TOML has it."""
    match value:
        case Reaction(policy=policy, grace_s=grace_s):
            return {"policy": policy.value, "grace_s": grace_s} if grace_s else policy.value
        case Enum():
            return value.value
        case bool() | int() | float() | str() | None:
            return value
        case frozenset() | set():
            return sorted(map(_plain, value), key=str)
        case tuple() | list():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case _:
            return str(value)


def _masked(value: object) -> object:
    match value:
        case bool() | None:
            return value
        case str() if not value or _NO_SECRET.fullmatch(value):
            return value
        case list():
            return [_masked(item) for item in value]
        case dict():
            return {key: _masked(item) for key, item in value.items()}
        case _:
            return MASK


def _without_query_values(path: str) -> str:
    path, mark, query = path.partition("?")
    shown = _QUERY_VALUE.sub(lambda found: found[0] if _NO_SECRET.fullmatch(found[0]) else MASK, query)
    return f"{path}{mark}{shown}"


def _toml(value: object) -> str:  # noqa: PLR0911  (a case each)
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return f"{value:.0f}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict() if value:
            return f"{{ {', '.join(f'{key_text((key,))} = {_toml(item)}' for key, item in value.items())} }}"
        case dict():
            return "{}"
        case _:
            return str(value)
