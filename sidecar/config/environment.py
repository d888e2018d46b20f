"""`${NAME}` in the file's strings: environment variables put in their place; `$${` stands for `${` itself. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sidecar.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.config.problems import Loc

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


class Environment:
    """Fills in references, and remembers what was wrong with them and what was filled in."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.problems: list[Problem] = []
        self.used: dict[str, str] = {}
        """What was filled in, by name: perhaps secrets."""

    def fill(self, value: object, loc: Loc = ()) -> object:
        """Give the value with every reference in its strings filled in; those with a problem stay as they are."""
        match value:
            case str():
                return self._fill_text(value, loc)
            case list():
                return [self.fill(item, (*loc, index)) for index, item in enumerate(value)]
            case dict():
                return {key: self.fill(item, (*loc, key)) for key, item in value.items()}
            case _:
                return value

    def _fill_text(self, text: str, loc: Loc) -> str:
        def put(reference: re.Match[str]) -> str:
            name = reference.group(1)
            if reference.group() == "$${":
                return "${"
            if name is None:
                self.problems.append(Problem(loc, "'${' begins no ${NAME}", "write $${ if you mean the characters ${"))
            elif name not in self._values:
                problem = f"the environment variable {name} is not set"
                self.problems.append(Problem(loc, problem, f"set it, or write $${{{name}}} if you mean the text"))
            else:
                self.used[name] = self._values[name]
                return self._values[name]
            return reference.group()

        return _REFERENCE.sub(put, text)
