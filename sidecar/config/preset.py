"""Presets: what is known of a backend's API, as a file of settings that lie under those of the operator's own file.

    the operator's file, where it says something  ->  the preset  ->  the defaults

Tables are laid over each other key by key, anything else is replaced whole. Two things are more than their keys:
- A call that names its path is another call: nothing of the preset's call stays.
- The file's list of `[[chat]]` takes the place of the preset's, but each of them lies over the preset's `[[chat]]` of
  its path; one with a path of its own lies over the preset's first. The same goes for `[[guard]]`.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.config.problems import Loc

NOTHING: Final = object()
_FOLDER: Final = files("sidecar.config") / "presets"
_SUFFIX: Final = ".toml"
_LISTS: Final = ("chat", "guard")
_CALL_SECTION: Final = "admin"
_PATH: Final = "path"


def preset_names() -> tuple[str, ...]:
    """Give the names of all presets, in order."""
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in _FOLDER.iterdir() if file.name.endswith(_SUFFIX)))


def preset_text(name: str) -> str:
    """Give a preset's file, as it is packaged. Raises KeyError where there is none of that name."""
    if name not in preset_names():
        raise KeyError(name)
    return (_FOLDER / f"{name}{_SUFFIX}").read_text("utf-8")


@lru_cache
def preset_about(name: str) -> tuple[str, str]:
    """Give a preset's first two paragraphs, a line each: what it is for, and where its facts are from."""
    text = preset_text(name)
    comment = text[: text.index("\n[")].splitlines()
    paragraphs = "\n".join(line.removeprefix("#").strip() for line in comment).split("\n\n")
    about, source = (" ".join(paragraph.split()) for paragraph in paragraphs[:2])
    return about, source


def preset_table(name: object) -> dict[str, Any]:
    """Give a preset as a TOML document; an empty one where there is none of that name."""
    return tomllib.loads(preset_text(name)) if isinstance(name, str) and name in preset_names() else {}


def lay_over(preset: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the operator's document over a preset's."""
    merged = {**preset, **table}
    for section in preset.keys() & table.keys():
        if section in _LISTS and isinstance(table[section], list):
            merged[section] = [_lay_entry(preset[section], entry) for entry in table[section]]
        else:
            merged[section] = _lay(preset[section], table[section], calls=section == _CALL_SECTION)
    return merged


def is_written(loc: Loc, table: Mapping[str, Any], preset: Mapping[str, Any]) -> bool:
    """Say whether a place is the operator's: their document says something there, or the preset does not."""
    return look_up(table, loc) is not NOTHING or look_up(lay_over(preset, table), loc) is NOTHING


def look_up(table: object, loc: Loc) -> object:
    """Give what stands at a place of a document; `NOTHING` where nothing does."""
    for part in loc:
        match table, part:
            case dict(), _ if part in table:
                table = table[part]
            case list(), int() if part < len(table):
                table = table[part]
            case _:
                return NOTHING
    return table


def _lay_entry(presets: list[dict[str, Any]], entry: object) -> object:
    """Lay an entry of a list of tables over the one that it is meant for."""
    path = entry.get(_PATH) if isinstance(entry, dict) else None
    return _lay(next((one for one in presets if one.get(_PATH) == path), presets[0]), entry)


def _lay(under: object, over: object, *, calls: bool = False) -> object:
    """Lay a value over another; with `calls`, the tables within may be calls of the admin API."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return {
        **under,
        **{
            key: value if calls and _names_a_path(value) else _lay(under.get(key), value) for key, value in over.items()
        },
    }


def _names_a_path(value: object) -> bool:
    return isinstance(value, dict) and _PATH in value
