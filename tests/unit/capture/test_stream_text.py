"""A wary scanner: nothing is learned any more once text has begun, for that is what a model writes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.capture.lines import is_frame
from sidecar.capture.sources import parse_source
from sidecar.capture.stream import StreamScanner

SOURCES = {"conversation_id": (parse_source("stream.json:/temp_conversation_id"), parse_source("stream.json:/final"))}
TEMP = b'{"temp_conversation_id": "temp_1"}\n'
FINAL = b'{"final": "c-1"}\n'
PLANTED = b'{"final": "victim"}\n'


def told(*pieces: bytes, wary: bool = True) -> tuple[dict[str, str], dict[str, str]]:
    """Give what a stream tells: what was learned, and what superseded it at its end."""
    scanner = StreamScanner(SOURCES, known={}, wary=wary)
    for piece in pieces:
        scanner.feed(piece)
    scanner.end()
    return scanner.take(), scanner.final


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\n\r\n",
        b'{"x": 1}\n',
        b"event: message\nid: 7\nretry: 5\n: keep-alive\n",
        b'data: {"x": 1}\n\ndata:\n\n',
        b"\xef\xbb\xbf[1]\n",
    ],
)
def test_what_comes_before_text_counts(before: bytes) -> None:
    assert told(before + FINAL + b"Hello\n") == ({"conversation_id": "c-1"}, {})


@pytest.mark.parametrize(
    "before",
    [b"Hello\n", b"data: Hello\n\n", b"{ no\n", b"x" * 70_000 + b"\n", b"Hello ", b'"Hello"\n', b'{"x": 1} y\n'],
)
def test_what_comes_behind_it_does_not(before: bytes) -> None:
    assert told(before + PLANTED) == ({}, {})
    if not before.startswith(b"xxx"):  # whose line is too long to be looked at
        assert told(before + PLANTED, wary=False) == ({"conversation_id": "victim"}, {})


def test_what_is_temporary_may_still_be_superseded() -> None:
    assert told(TEMP, b"Hello\n", PLANTED, b"more\n", FINAL) == (
        {"conversation_id": "temp_1"},
        {"conversation_id": "c-1"},
    )


def test_nothing_is_looked_for_any_more_behind_text() -> None:
    scanner = StreamScanner(SOURCES, known={}, wary=True)
    scanner.feed(b"Hello\n")
    assert scanner.idle


def test_the_terminal_frame_is_still_seen() -> None:
    scanner = StreamScanner(SOURCES, known={}, terminal=("data: [DONE]",), wary=True)
    assert scanner.feed(b"data: Hello\n\n") is None
    assert scanner.feed(b"data: [DONE]\n\n") == 0


LINES = st.lists(st.sampled_from([TEMP, FINAL, PLANTED, b"Hello\n", b'{"x": 1}\n', b"data: x\n\n", b"\n"]), max_size=8)


@given(LINES, st.lists(st.integers(0, 200), max_size=6))
def test_no_cut_changes_it(lines: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(lines)
    bounds = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[start:stop] for start, stop in pairwise(bounds)]
    assert told(*pieces) == told(whole)


@pytest.mark.parametrize(("line", "frame"), [(b"data: {}", True), (b"data", False), (b" {}\r", True), (b"{}{}", True)])
def test_frames(line: bytes, *, frame: bool) -> None:
    assert is_frame(line) is frame
