"""The entries that say what ends an answer."""

from __future__ import annotations

import pytest

from sidecar.capture.sources import SourceSyntaxError, parse_source
from sidecar.capture.terminal import parse_terminal


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("data: [DONE]", {b"data: [DONE]", b"data:[DONE]"}),
        ("data:[DONE] \r\n", {b"data: [DONE]", b"data:[DONE]"}),
        ("event: message_stop", {b"event: message_stop", b"event:message_stop"}),
        ("[END]", {b"[END]"}),
        ("note: [END]", {b"note: [END]"}),
        ("\u7ec8", {"\u7ec8".encode()}),
    ],
)
def test_a_line_and_its_other_spelling(text: str, lines: set[bytes]) -> None:
    terminal = parse_terminal(text)
    assert terminal.lines == lines
    assert terminal.source is None
    assert all(terminal.marker in line for line in lines)


def test_a_source() -> None:
    text = "stream.json:/done ~ ^(true)$"
    assert parse_terminal(text).source == parse_source(text)
    assert parse_terminal(text).lines == frozenset()


@pytest.mark.parametrize("text", ["", " ", "\n", "data: a\n\ndata: b", "stream.json:done", "stream.json:/a ~ b"])
def test_what_can_never_match_is_refused(text: str) -> None:
    with pytest.raises(SourceSyntaxError):
        parse_terminal(text)
