"""What one principal may have under way at a time, and how often it may ask to cancel; pure.

Who brings no identity is nobody in particular: turns of such requests are not counted, and their requests to cancel
are counted by address. In memory, by process; bounded in number, the oldest giving way.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final

from sidecar.errors import TooManyError

WINDOW_S: Final = 60.0
ASKERS_MAX: Final = 10_000


class Quota:
    """Counts turns under way, and requests to cancel within a minute."""

    def __init__(self) -> None:
        self._under_way: Counter[str] = Counter()
        self._asked: OrderedDict[str, tuple[float, int]] = OrderedDict()  # since when, and how often

    def enter(self, principal: str, *, limit: int) -> None:
        """Count one more turn. Raises TooManyError where that would be one too many; 0 is no limit."""
        if 0 < limit <= self._under_way[principal]:
            raise TooManyError(f"{limit} turns of the principal are under way")
        self._under_way[principal] += 1

    def leave(self, principal: str) -> None:
        """Count one turn less."""
        self._under_way[principal] -= 1
        if self._under_way[principal] <= 0:
            del self._under_way[principal]

    def ask(self, asker: str, *, limit: int, now: float) -> None:
        """Count a request to cancel. Raises TooManyError for one too many within WINDOW_S; 0 is no limit."""
        since, count = self._asked.pop(asker, (now, 0))
        if now - since >= WINDOW_S:
            since, count = now, 0
        self._asked[asker] = since, count + 1
        if len(self._asked) > ASKERS_MAX:
            self._asked.popitem(last=False)
        if 0 < limit <= count:
            raise TooManyError(f"more than {limit} requests to cancel within {WINDOW_S:g} s")
