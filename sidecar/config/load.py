"""From a file to Settings, or to every problem at once.

bytes -> TOML -> laid over its preset -> `${NAME}` filled in -> each value by itself -> values against each other

A file that cannot be read as TOML has that one problem. From there on a stage goes on with what earlier ones left
intact, so that one mistake hides no other, and a mistake's mere consequences are not told.
"""

from __future__ import annotations

import copy
import re
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from sidecar.config.environment import Environment
from sidecar.config.explain import explain
from sidecar.config.meaning import check_meaning
from sidecar.config.preset import is_written, lay_over, preset_table
from sidecar.config.problems import Loc, Problem, touches
from sidecar.config.settings import Settings
from sidecar.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FILE_BYTES_MAX: Final = 1_048_576
_ANY_UPSTREAM: Final = "http://127.0.0.1"
_ANY_GUARDED: Final = "/{conversation_id}"
_PLACE_IN_FILE: Final = re.compile(r"(?P<what>.*) \((?P<place>at [^()]*)\)", re.DOTALL)


def load(path: Path, env: Mapping[str, str]) -> Settings:
    """Read the settings from a file. Raises ConfigError with every problem, a line each."""
    return load_table(read_table(path), env)


def read_table(path: Path) -> dict[str, Any]:
    """Read the TOML document of a file, as it was written. Raises ConfigError with its problem."""
    return _parse(path, _read(path))


def load_table(table: Mapping[str, Any], env: Mapping[str, str]) -> Settings:
    """Make settings of a parsed TOML document. Raises ConfigError as `load` does."""
    environment = Environment(env)
    preset = preset_table(table.get("preset"))
    whole = lay_over(preset, table)
    filled: Any = environment.fill({"upstream": {}, **whole})  # so that a missing URL is missed by its full name
    problems = environment.problems
    settings, faults = _validate(filled)
    problems += _not_mere_consequences(faults, problems)
    if problems:
        settings = _salvage(filled, problems)
    if settings:
        found = list(check_meaning(settings))
        problems += _not_mere_consequences(found, problems)
    if settings is None or problems:
        told = [problem if is_written(problem.loc, table, preset) else _of_preset(problem) for problem in problems]
        raise ConfigError([problem.line(environment.used) for problem in sorted(told, key=_place_in_order)])
    return settings


def _of_preset(problem: Problem) -> Problem:
    """Say that a value is the preset's, and that the operator's own file comes first."""
    return replace(problem, what=f"of the preset: {problem.what}", mend=f"{problem.mend}; or write the key yourself")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file; give an existing one (config.example.toml is one)"]) from None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise ConfigError([f"{path}: cannot be read ({reason}); give a file that can"]) from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError([f"{path}: is longer than {FILE_BYTES_MAX} bytes; give the sidecar's TOML file"])
    try:
        return content.decode("utf-8-sig")  # some editors put a byte order mark in front
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}, line {line}: is not UTF-8; save the file in that encoding"]) from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        found = _PLACE_IN_FILE.fullmatch(str(error))
        what, place = (found["what"], found["place"].removeprefix("at ")) if found else (str(error), "somewhere")
        problem = f"{path}, {place}: is no TOML: {' '.join(what.split())}; mend it there, or just before"
        raise ConfigError([problem]) from None


def _validate(table: object) -> tuple[Settings | None, list[Problem]]:
    try:
        return Settings.model_validate(table), []
    except ValidationError as error:
        return None, [explain(one, Settings) for one in error.errors(include_url=False)]


def _not_mere_consequences(later: Iterable[Problem], earlier: Iterable[Problem]) -> list[Problem]:
    faulty = [problem.loc for problem in earlier]
    return [
        problem
        for problem in later
        if not any(touches(bad, place) for bad in faulty for place in problem.relies_on or (problem.loc,))
    ]


def _salvage(table: object, problems: Iterable[Problem]) -> Settings | None:
    """Give settings in which what has a problem is at its default; None where nothing can be made of the file."""
    intact: Any = copy.deepcopy(table)
    for problem in problems:
        _remove(intact, problem.loc)
    intact.setdefault("upstream", {}).setdefault("url", _ANY_UPSTREAM)
    return _validate(intact)[0]


def _remove(table: Any, loc: Loc) -> None:  # noqa: ANN401  (a TOML document is of any shape)
    """Take a value out of a document; out of an array, the array.

    A `[[chat]]` or `[[guard]]` is left in its place, that the others keep theirs; a call goes whole.
    """
    match loc:
        case ("chat" | "guard" as section, int(index), *below) if isinstance(table.get(section), list):
            if below:
                _remove_key(table[section][index], tuple(below))
            else:
                table[section][index] = {}
            if section == "guard" and isinstance(table[section][index], dict):
                table[section][index].setdefault("path", _ANY_GUARDED)
        case ("admin", str(call), "method" | "path"):
            table["admin"].pop(call, None)
        case _:
            _remove_key(table, loc)


def _remove_key(table: Any, loc: Loc) -> None:  # noqa: ANN401  (a TOML document is of any shape)
    for depth, part in enumerate(loc):
        if not isinstance(table, dict):
            return
        if depth == len(loc) - 1 or isinstance(loc[depth + 1], int):
            table.pop(part, None)
            return
        table = table.get(part)


def _place_in_order(problem: Problem) -> tuple[int, int]:
    """Give a section's place among the sections, and a `[[chat]]`'s among its like; what is unknown comes first."""
    sections: list[str | int] = list(Settings.model_fields)
    section, index = (*problem.loc, -1)[:2]
    return sections.index(section) if section in sections else -1, index if isinstance(index, int) else -1
