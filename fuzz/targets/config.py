"""What an operator writes: any file is either settings or a list of problems, a line each, without a secret."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

from sidecar.config import Settings, load_table
from sidecar.errors import ConfigError

SECRET: Final = "s3cr3t-t0ken"  # noqa: S105  (to be looked for)
ENVIRONMENT: Final = {"TOKEN": SECRET, "URL": "http://127.0.0.1:9000"}


_LINE: Final = re.compile(r"\(at line (\d+),")
_MENDED_MAX: Final = 8


def _parse(text: str) -> dict[str, Any] | None:
    """Read TOML, without the first few lines that are none, so that more of what is random gets further."""
    lines = text.split("\n")
    for _ in range(_MENDED_MAX):
        try:
            return tomllib.loads("\n".join(lines))
        except (ValueError, RecursionError) as error:
            place = _LINE.search(str(error))
            if place is None:
                return None
            del lines[int(place[1]) - 1]
    return None


def config(data: bytes) -> None:
    """Read a configuration."""
    table = _parse(data.decode("utf-8", "replace"))
    if table is None:
        return  # told by the TOML reader
    try:
        settings = load_table(table, ENVIRONMENT)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert ": " in problem, problem
            assert problem.isprintable(), problem
            assert SECRET not in problem, problem
        return
    assert isinstance(settings, Settings)
    for chat in settings.chat:
        settings.plan(chat)
