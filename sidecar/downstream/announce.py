"""Announces the conversation's ids in the stream itself, for backends that do not (M7); pure.

The temporary id comes first and the final one last, each as a JSON line of its own; in an event stream, as an event.
Only answers whose format has room for such a frame are touched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

_LINE_TYPES: Final = frozenset(
    {b"text/plain", b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"application/json-lines"}
)
_EVENT_TYPE: Final = b"text/event-stream"


@dataclass(slots=True)
class Announcement:
    """The frames of one answer; `note` has to see every byte of its body, so that a frame starts on a line."""

    events: bool
    _tail: bytes = field(default=b"\n\n", init=False)

    def first(self, temp_id: str) -> bytes:
        """Give the frame that comes before everything else."""
        return self._frame("temp_conversation_id", temp_id)

    def last(self, conversation_id: str) -> bytes:
        """Give the frame that comes after everything else."""
        return self._line_end() + self._frame("final_conversation_id", conversation_id)

    def note(self, body: bytes) -> None:
        """Take note of body bytes that were written."""
        self._tail = (self._tail + body[-2:])[-2:]

    def _frame(self, name: str, value: str) -> bytes:
        line = json.dumps({name: value}).encode()
        return b"data: " + line + b"\n\n" if self.events else line + b"\n"

    def _line_end(self) -> bytes:
        if self._tail.endswith(b"\n\n") or (self._tail.endswith(b"\n") and not self.events):
            return b""
        if not self.events:
            return b"\n"
        return b"\n" if self._tail.endswith(b"\n") else b"\n\n"


def announcement_for(content_type: bytes | None, content_encoding: bytes | None) -> Announcement | None:
    """Give the announcement that fits the answer's format; None where there is no room for one."""
    media_type = (content_type or b"").partition(b";")[0].strip().lower()
    if content_encoding is not None and content_encoding.strip().lower() != b"identity":
        return None
    if media_type == _EVENT_TYPE:
        return Announcement(events=True)
    return Announcement(events=False) if media_type in _LINE_TYPES else None
