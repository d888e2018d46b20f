"""How the backend behaves: a dataclass of knobs, each of which a single request may turn for itself.

A request turns them by query parameters, the command line by the same `name=value` pairs. Times there are in
milliseconds (`word_ms`, `think_ms`), here in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendKnobs:
    """The backend's behaviour. Either `sse` or `ndjson` or neither (plain text), never both."""

    words: int = 14
    """The number of words of an answer, each its own chunk."""
    word_s: float = 0.08
    """The pause between two words."""
    think_s: float = 0.0
    """The silence before the answer's head."""
    announce: bool = False
    """A new conversation starts under a temporary id; the first and the last frame announce the ids (M6, M7)."""
    saves_late: bool = False
    """Stop and delete are answered, but the work goes on, and its end brings the conversation back."""
    sse: bool = False
    ndjson: bool = False
    id_in: Literal["header", "stream", "none"] = "header"
    """Where the conversation's id is told: `X-Conversation-Id`, a first frame `{"conversation_id": ...}`, nowhere."""
    admin_token: str | None = None
    """The admin API asks for `Authorization: Bearer <admin_token>`."""
    status: int = 200
    """400 and above: answer with that error and take up nothing."""
    die_after: int | None = None
    """Abort the connection after so many words; the generation itself goes on."""
    stall_after: int | None = None
    """Say and make nothing more after so many words, until stopped."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense. Raises ValueError."""
        if self.sse and self.ndjson:
            raise ValueError("sse and ndjson exclude each other")
        if min(self.words, self.word_s, self.think_s) < 0:
            raise ValueError("words, word_s and think_s cannot be negative")
        if self.id_in not in {"header", "stream", "none"}:
            raise ValueError("id_in is header, stream or none")


def turned(knobs: BackendKnobs, pairs: Mapping[str, str]) -> BackendKnobs:
    """Turn the knobs that `pairs` names (as a query or a command line spells them); other names change nothing.

    Raises ValueError where a value cannot be used.
    """
    changes = {_READERS[name][0]: _READERS[name][1](text) for name, text in pairs.items() if name in _READERS}
    # The readers make each field's type, which no checker can follow through a mapping of names.
    return replace(knobs, **changes)  # type: ignore[arg-type]


def _seconds(text: str) -> float:
    return float(text) / 1000


def _flag(text: str) -> bool:
    return text.lower() in {"1", "true", "yes"}


_READERS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "words": ("words", int),
    "word_ms": ("word_s", _seconds),
    "think_ms": ("think_s", _seconds),
    "announce": ("announce", _flag),
    "saves_late": ("saves_late", _flag),
    "sse": ("sse", _flag),
    "ndjson": ("ndjson", _flag),
    "id_in": ("id_in", str),
    "status": ("status", int),
    "die_after": ("die_after", int),
    "stall_after": ("stall_after", int),
}
