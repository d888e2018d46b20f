"""Looks into an answer's body as it passes, line by line, without changing or delaying a byte of it.

    piece --(inflate)--> lines --marker?--> JSON --watchlist--> learned, final, the terminal frame's position

A line is NDJSON, a field of an SSE event, or plain text; it ends with LF or CRLF, or with the body. What it tells does
not depend on how the body was cut into pieces. This runs for every piece of every stream: no loop over bytes, no
pattern, and no JSON parsed in a line without a marker. An SSE event whose data is one JSON text over several lines is
looked at once it has ended.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sidecar.capture.inflate import INFLATABLE, InflateError, Inflater
from sidecar.capture.lines import DATA, OpenEvent, is_frame, read_line
from sidecar.capture.pointer import read_json
from sidecar.capture.watchlist import Watchlist

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sidecar.capture.sources import Source

LINE_BYTES_MAX: Final = 65_536
_BOM: Final = b"\xef\xbb\xbf"
_EVENT_ENDS: Final = (b"\n\n", b"\n\r\n")


class StreamScanner:
    """Watches one answer's body for ids and for its terminal frame.

    `sources` are a route's, by name; `known` the values that are known before the body begins; `terminal` the entries
    that mark the answer's end (an entry that cannot be read raises SourceSyntaxError); `encoding` the Content-Encoding.
    `wary`: what is unknown may be told only before the answer's first line of text, which a model may have written.

    `idle`: nothing is left to look for, so feeding more is of no use. `blind`: the body cannot be decoded, so whatever
    it tells goes unseen. `skipped_lines` counts those longer than `line_bytes_max`, which are not looked at.
    """

    def __init__(
        self,
        sources: Mapping[str, tuple[Source, ...]],
        *,
        known: Mapping[str, str],
        terminal: Sequence[str] = (),
        encoding: str | None = None,
        wary: bool = False,
        line_bytes_max: int = LINE_BYTES_MAX,
    ) -> None:
        coding = (encoding or "identity").strip().lower()
        self._watchlist = Watchlist(sources, known, terminal, wary=wary)
        self._inflater = Inflater(coding) if coding in INFLATABLE else None
        self._line_bytes_max = line_bytes_max
        self._line = bytearray()  # of the line that has not ended: what came in earlier pieces
        self._line_at = 0
        self._skipping = False
        self._event = OpenEvent(line_bytes_max)
        self._passed = 0
        self._between = True  # no line and no event is open
        self.skipped_lines = 0
        self.blind = coding not in INFLATABLE | {"identity", ""}
        self.idle = self.blind or self._watchlist.empty

    def may_tell(self, names: Collection[str]) -> bool:
        """Say whether any of these is still looked for."""
        return not self.blind and self._watchlist.may_tell(names)

    @property
    def final(self) -> dict[str, str]:
        """The values that supersede temporary ones, to be adopted when the answer has ended."""
        return self._watchlist.final

    @property
    def learned(self) -> dict[str, str]:
        """The values found that were not known before and have not been taken."""
        return self._watchlist.learned

    def take(self) -> dict[str, str]:
        """Give what was learned since this was last called."""
        return self._watchlist.take()

    def feed(self, data: bytes | memoryview) -> int | None:
        """Take the body's next bytes; give the offset in them from which on the terminal frame stands, if it is whole.

        The frame is the line that matched, or the SSE event whose joined data did; the offset is 0 where it began in
        an earlier piece or the body is compressed. Only the first terminal frame is told.
        """
        if self.idle:
            return None
        if self._inflater is not None:
            return self._feed_coded(self._inflater, bytes(data))
        begin = self._passed
        at = self._scan(bytes(data))
        return None if at is None else max(0, at - begin)

    def end(self) -> bool:
        """Take note that the body has ended; say whether its last line, which has no line end, is a terminal frame."""
        if self.idle:
            return False
        at = self._scan(b"\n\n")
        self.idle = True
        return at is not None

    def _feed_coded(self, inflater: Inflater, data: bytes) -> int | None:
        found = False
        try:
            for decoded in inflater.inflate(data):
                found |= self._scan(decoded) is not None
                if self.idle:
                    break
        except InflateError:
            self.blind = self.idle = True
        return 0 if found else None

    def _scan(self, data: bytes) -> int | None:
        """Look at the next bytes; give the position in the body at which the terminal frame stands."""
        begin = self._passed
        self._passed = line_end = begin + len(data)
        if self._between:
            if self._is_dull(data):
                return None
            self._line_at = begin
        lines = data.split(b"\n")
        rest = lines.pop()
        frame_at, line_end = None, begin
        for line in lines:
            line_end += len(line) + 1
            at = self._take_line(line, self._line_at)
            self._line_at = line_end
            frame_at = at if frame_at is None else frame_at
            if self.idle:
                return frame_at
        self._hold(rest)
        self._between = not (self._line or self._skipping or self._event.open)
        return frame_at

    def _is_dull(self, data: bytes) -> bool:
        """Say whether whole lines and whole events came, and none of them can tell anything."""
        return (
            not self._watchlist.wary
            and (data.endswith(_EVENT_ENDS) or (data.endswith(b"\n") and DATA not in data))
            and len(data) <= self._line_bytes_max
            and not self._watchlist.marks(data)
        )

    def _hold(self, rest: bytes) -> None:
        """Keep the line that has not ended, unless it is too long."""
        if self._skipping:
            return
        if len(self._line) + len(rest) > self._line_bytes_max:
            self._skip()
            self._skipping = True
        else:
            self._line += rest

    def _note_text(self) -> None:
        """Take note that text has begun."""
        self._watchlist.text_begins()
        self.idle = self._watchlist.empty

    def _skip(self) -> None:
        if self._watchlist.wary:
            self._note_text()
        self.skipped_lines += 1
        self._line.clear()
        self._event.spoil()

    def _complete(self, line: bytes) -> bytes | None:
        """Give the line whole, or None where it is too long."""
        if self._skipping:
            self._skipping = False
            return None
        if len(self._line) + len(line) > self._line_bytes_max:
            self._skip()
            return None
        if self._line:
            line = bytes(self._line + line)
            self._line.clear()
        return line

    def _take_line(self, raw: bytes, at: int) -> int | None:
        """Take a line's end; give the position of the terminal frame if that is what ended here."""
        line = self._complete(raw)
        if line is None:
            return None
        if at == 0:
            line = line.removeprefix(_BOM)
        if line in {b"", b"\r"}:
            return self._close_event() if self._event.open else None
        if self._watchlist.wary and not is_frame(line):
            self._note_text()
        marked = self._watchlist.marks(line)
        ended = marked and self._look_at(line)
        if line.startswith(DATA):
            self._event.add(line[len(DATA) :], at, wanted=marked)
        return at if ended else None

    def _look_at(self, line: bytes) -> bool:
        ended = self._watchlist.look_at_line(line.rstrip(b"\r "))
        with suppress(ValueError):
            ended |= self._watchlist.look_at_document(read_line(line))
        self.idle = self._watchlist.empty
        return ended

    def _close_event(self) -> int | None:
        """Look at the data of an event that came in several lines; give its position if it is a terminal one."""
        data, at = self._event.joined(), self._event.starts_at
        self._event.clear()
        if data is None:
            return None
        try:
            ended = self._watchlist.look_at_document(read_json(data))
        except ValueError:
            return None
        self.idle = self._watchlist.empty
        return at if ended else None
