"""Frames that end an answer: a whole line such as `data: [DONE]`, or a `stream.json` source that then answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sidecar.capture.sources import Place, Source, SourceSyntaxError, parse_source

_SOURCE_START: Final = f"{Place.STREAM_JSON}:"
_SSE_FIELDS: Final = frozenset({"data", "event"})


@dataclass(frozen=True, slots=True)
class Terminal:
    """Either a source, or the spellings of a line (without its end), each of which holds the marker."""

    source: Source | None = None
    lines: frozenset[bytes] = frozenset()
    marker: bytes = b""


@lru_cache(maxsize=256)
def parse_terminal(text: str) -> Terminal:
    """Read an entry of `terminal`. Raises SourceSyntaxError."""
    if text.startswith(_SOURCE_START):
        return Terminal(source=parse_source(text))
    line = text.rstrip(" \r\n")
    if not line or "\n" in line:
        raise SourceSyntaxError(f"{text!r} is not one line; write for example 'data: [DONE]'")
    name, colon, value = line.partition(":")
    if not colon or name not in _SSE_FIELDS:
        return Terminal(lines=frozenset({line.encode()}), marker=line.encode())
    value = value.removeprefix(" ")
    spellings = (f"{name}:{value}", f"{name}: {value}")  # the space is optional
    return Terminal(lines=frozenset(map(str.encode, spellings)), marker=value.encode())
