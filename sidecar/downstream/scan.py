"""What an answer tells while it passes: ids in its head and stream, and the frame that ends it.

Stops looking as soon as there is nothing left to find, so that most of a stream costs nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.capture.response import capture_fields
from sidecar.capture.sources import ANSWER_PLACES
from sidecar.capture.stream import StreamScanner

if TYPE_CHECKING:
    from collections.abc import Collection

    from sidecar.downstream.body import Piece
    from sidecar.downstream.routes import ChatRoute
    from sidecar.turn.state import Turn
    from sidecar.wire.answer_head import Head


class AnswerScan:
    """Looks at one answer: first its head, then its body piece by piece."""

    def __init__(self, route: ChatRoute) -> None:
        self._route = route
        self._scanner: StreamScanner | None = None
        self._begun = False

    @property
    def over(self) -> bool:
        """Whether there is nothing left to look for."""
        return self._begun and self._scanner is None

    def may_tell(self, names: Collection[str]) -> bool:
        """Say whether the rest of the answer may still tell any of these: whether a source of theirs looks there."""
        if self._begun:
            return self._scanner is not None and self._scanner.may_tell(names)
        sources = (source for name in names for source in self._route.sources.get(name, ()))
        return any(source.place in ANSWER_PLACES for source in sources)

    def head(self, head: Head, turn: Turn, *, terminal: bool) -> dict[str, str]:
        """Give what the head tells. `terminal` says whether the frame that ends the answer matters."""
        learned = capture_fields(self._route.sources, head.fields, turn.captured.keys())
        encoding = head.get(b"content-encoding")
        scanner = StreamScanner(
            self._route.sources,
            known={**learned, **turn.captured},
            terminal=self._route.chat.terminal if terminal else (),
            wary=self._route.chat.stream_ids == "before_text",
            encoding=encoding.decode("latin-1") if encoding else None,
        )
        self._scanner = None if scanner.idle else scanner
        self._begun = True
        return learned

    def piece(self, piece: Piece) -> int | None:
        """Look into a piece; give the offset in its data at which a terminal frame begins, if one does."""
        scanner = self._scanner
        if scanner is None:
            return None
        terminal_at = None
        for start, stop in piece.spans:
            at = scanner.feed(piece.data if stop - start == len(piece.data) else piece.data[start:stop])
            if at is not None and terminal_at is None:
                terminal_at = start + at
        return terminal_at

    def take(self) -> dict[str, str]:
        """Give the ids learned since the last time."""
        scanner = self._scanner
        if scanner is None:
            return {}
        learned = scanner.take() if scanner.learned else {}
        if scanner.idle:
            self._scanner = None
        return learned

    def end(self) -> tuple[dict[str, str], dict[str, str]]:
        """End looking: give the ids learned last, and those that the end alone can tell."""
        scanner, self._scanner = self._scanner, None
        if scanner is None:
            return {}, {}
        scanner.end()
        return scanner.take(), dict(scanner.final)
