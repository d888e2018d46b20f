"""How an answer is written into its body: plain text, NDJSON or SSE; pure.

Words and notes (small JSON objects that tell ids) are all that an answer consists of.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.demo.backend.knobs import BackendKnobs

# fmt: off
_ADVICE: Final = (
    "Breathe", "in", "slowly,", "hold", "it,", "let", "go:", "you", "are", "doing", "well", "today;", "now", "rest.",
)
# fmt: on


def words_of_answer(count: int) -> Iterator[str]:
    """Give the answer's words, each with the space that follows it."""
    return (f"{_ADVICE[index % len(_ADVICE)]} " for index in range(count))


def content_type(knobs: BackendKnobs) -> str:
    """Give the answer's `Content-Type`."""
    if knobs.sse:
        return "text/event-stream; charset=utf-8"
    return "application/x-ndjson" if knobs.ndjson else "text/plain; charset=utf-8"


def word_frame(knobs: BackendKnobs, word: str) -> bytes:
    """Write a word."""
    return _frame(knobs, {"delta": word}) if knobs.sse or knobs.ndjson else word.encode()


def opening_note(knobs: BackendKnobs, note: Mapping[str, str]) -> bytes:
    """Write a note before the first word."""
    return _frame(knobs, note)


def closing_note(knobs: BackendKnobs, note: Mapping[str, str]) -> bytes:
    """Write a note after the last word, on a line of its own."""
    frame = _frame(knobs, note)
    return frame if knobs.sse or knobs.ndjson else b"\n" + frame


def terminal_frame(knobs: BackendKnobs) -> bytes:
    """Write what ends a whole answer; empty where only the body's end tells it."""
    return b"data: [DONE]\n\n" if knobs.sse else b""


def _frame(knobs: BackendKnobs, value: Mapping[str, str]) -> bytes:
    text = json.dumps(value)
    return f"data: {text}\n\n".encode() if knobs.sse else f"{text}\n".encode()
