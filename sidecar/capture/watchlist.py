"""What a stream is watched for: ids that are still unknown, the real id after a temporary one, the terminal frame.

For each name the first source that answers wins. If what it told is temporary, sources further down the list may
supersede it, but only once the answer is whole: that goes to `final` (the last one seen). The list only gets shorter.
A *wary* list lets nothing be learned any more once text has begun, which a model may have written; what is temporary
may still be superseded. A *marker* is a piece of bytes without which a line cannot answer, so that most lines need no
closer look.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sidecar.capture.pointer import is_index, resolve
from sidecar.capture.sources import Place, Source
from sidecar.capture.terminal import Terminal, parse_terminal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

TEMP_PREFIX: Final = "temp_"
_FROM_OUTSIDE: Final = -1
_ONLY_VALUE: Final = re.compile(r"\^\(([A-Za-z0-9_-]+)\)\$")  # a pattern such as ^(true)$
_MAY_BE_ESCAPED: Final = re.compile(r'["\\/\x00-\x1f]')  # by a letter (RFC 8259, 7); the rest only by number


@dataclass(frozen=True, slots=True)
class _Watch:
    """A source in the stream, and its rank in the list of a name."""

    name: str
    rank: int
    source: Source


class Watchlist:
    """What is still to be found, and what was: `learned` since it was last taken, and `final`."""

    def __init__(
        self,
        sources: Mapping[str, tuple[Source, ...]],
        known: Mapping[str, str],
        terminal: Sequence[str],
        *,
        wary: bool = False,
    ) -> None:
        self._wary = wary
        self.learned: dict[str, str] = {}
        self.final: dict[str, str] = {}
        self._terminals: tuple[Terminal, ...] = tuple(map(parse_terminal, terminal))
        self._current = {name: (value, _FROM_OUTSIDE) for name, value in known.items()}
        self._watches = tuple(
            _Watch(name, rank, source)
            for name, listed in sources.items()
            for rank, source in enumerate(listed)
            if source.place is Place.STREAM_JSON
        )
        self._shorten()

    @property
    def empty(self) -> bool:
        """Whether there is nothing left to look for."""
        return not self._watches and not self._terminals

    def may_tell(self, names: Collection[str]) -> bool:
        """Say whether any of these is still looked for."""
        return any(watch.name in names for watch in self._watches)

    def take(self) -> dict[str, str]:
        """Give what was learned since this was last called."""
        taken, self.learned = self.learned, {}
        return taken

    @property
    def wary(self) -> bool:
        """Whether it would matter that text begins."""
        return self._wary and any(watch.name not in self._current for watch in self._watches)

    def text_begins(self) -> None:
        """Look no more for what is unknown."""
        self._watches = tuple(watch for watch in self._watches if watch.name in self._current)
        self._shorten()

    def marks(self, data: bytes) -> bool:
        """Say whether the data holds a marker: whether a line in it may answer."""
        for marker in self.markers:  # noqa: SIM110  (half the time of any(): once per piece of every stream)
            if marker in data:
                return True
        return False

    def look_at_line(self, line: bytes) -> bool:
        """Say whether the line, without its end, is a terminal one."""
        ended = any(line in terminal.lines for terminal in self._terminals)
        return self._end() if ended else False

    def look_at_document(self, document: object) -> bool:
        """Take what a JSON document tells; say whether it is a terminal one."""
        for watch in self._watches:
            value = watch.source.refine(resolve(document, watch.source.tokens))
            if value is not None:
                self._hear(watch, value)
        sources = (terminal.source for terminal in self._terminals if terminal.source)
        ended = any(source.refine(resolve(document, source.tokens)) is not None for source in sources)
        return self._end() if ended else False

    def _hear(self, watch: _Watch, value: str) -> None:
        if watch.name not in self._current:
            self._current[watch.name] = value, watch.rank
            self.learned[watch.name] = value
            self._shorten()
        elif self._may_tell(watch) and value != self._current[watch.name][0]:
            self.final[watch.name] = value

    def _end(self) -> bool:
        self._terminals = ()
        self._shorten()
        return True

    def _shorten(self) -> None:
        self._watches = tuple(filter(self._may_tell, self._watches))
        self.markers = _markers(self._watches, self._terminals)

    def _may_tell(self, watch: _Watch) -> bool:
        if watch.name not in self._current:
            return True
        current, rank = self._current[watch.name]
        return current.startswith(TEMP_PREFIX) and watch.rank > rank


def _markers(watches: Sequence[_Watch], terminals: Sequence[Terminal]) -> tuple[bytes, ...]:
    sources = [watch.source for watch in watches]
    sources += [terminal.source for terminal in terminals if terminal.source]
    inside = {_marker(source) for source in sources}
    lines = {terminal.marker for terminal in terminals if not terminal.source}
    escapes = {b"\\u00" if marker.isascii() else b"\\u" for marker in inside}
    return tuple(sorted(inside | lines | escapes))


@lru_cache(maxsize=256)
def _marker(source: Source) -> bytes:
    """Give what stands, unless it is escaped by number, in every JSON text in which the source finds something.

    It is the one value that the pattern lets through, or the last key: in its quotes if nothing else in it can be
    escaped, else its longest piece that cannot.
    """
    only_value = _ONLY_VALUE.fullmatch(source.pattern.pattern) if source.pattern else None
    if only_value:
        return only_value[1].encode()
    key = next((token for token in reversed(source.tokens) if not is_index(token)), None)
    if key is None:
        return b""
    piece = max(_MAY_BE_ESCAPED.split(key), key=len)
    return (f'"{key}"' if piece == key else piece).encode("utf-8", "surrogatepass")
