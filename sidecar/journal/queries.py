"""SQL stands in files of its own; this one only reads them.

`queries.sql` holds the named statements, `migrations/NNNN_*.sql` the steps from one schema version to the next.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from sidecar.errors import BugError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAME: Final = re.compile(r"^-- (\w+) --$", re.MULTILINE)
_ONE_ROW: Final = re.compile(r"(?<=VALUES )\([?, ]+\)")
_COMMENT: Final = re.compile(r"^--.*\n?", re.MULTILINE)


def parse(text: str) -> dict[str, str]:
    """Give the statements of a file by their names, without comments. Raises BugError for a name that comes twice."""
    parts = _NAME.split(text)[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) < len(names):
        raise BugError("a query's name comes twice")
    return {name: _COMMENT.sub("", body).strip() for name, body in zip(names, bodies, strict=True)}


def _migrations() -> tuple[str, ...]:
    folder = files(__package__).joinpath("migrations")
    scripts = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return tuple(script.read_text("utf-8") for script in scripts)


QUERIES: Final[Mapping[str, str]] = parse(files(__package__).joinpath("queries.sql").read_text("utf-8"))
MIGRATIONS: Final[Sequence[str]] = _migrations()
"""The script at index N leads from schema version N to N + 1."""


@cache
def for_rows(name: str, rows: int) -> str:
    """Give a statement that writes a row of values by their places as one that writes so many rows."""
    return _ONE_ROW.sub(lambda row: ", ".join([row[0]] * rows), QUERIES[name])
