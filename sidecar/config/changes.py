"""What differs between two configurations, and what of it only a start can change; pure. No value is ever shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.config.problems import Loc, key_text
from sidecar.config.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.config.settings import Settings

AT_START: Final = frozenset(
    {
        ("listen", "address"),
        ("listen", "unix_mode"),
        ("listen", "tls"),
        ("listen", "workers"),
        ("journal", "path"),
        ("console", "address"),
        ("tracing", "endpoint"),
        ("tracing", "headers"),
        ("tracing", "service_name"),
    }
)
"""The settings that are read once: addresses are bound, a journal is owned, processes are counted, and
a collector is known by then.

Of `listen.tls` it is only whether there is any; its files are read again.
"""


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """Name every setting that differs, in the order of the file; `[[chat]]` and the like as a whole."""
    return [key_text(loc) for loc in _differing(before, after)]


def waiting_for_start(before: Settings, after: Settings) -> list[str]:
    """Name the settings that differ and that only a start can change."""
    return [key_text(loc) for loc in _differing(before, after) if loc in AT_START]


def held_back(before: Settings, after: Settings) -> Settings:
    """Give the settings of `after`, but those that only a start can change as they are in `before`."""
    held = after
    for section, name in [loc for loc in _differing(before, after) if loc in AT_START]:
        table = getattr(held, str(section)).model_copy(update={name: getattr(getattr(before, str(section)), str(name))})
        held = held.model_copy(update={section: table})
    return held


def _differing(before: Section, after: Section, above: Loc = ()) -> Iterator[Loc]:
    for name, field in type(before).model_fields.items():
        loc = (*above, field.alias or name)
        old: Any = getattr(before, name)
        new: Any = getattr(after, name)
        if isinstance(old, Section) and type(old) is type(new):
            yield from _differing(old, new, loc)
        elif old != new:
            yield loc
