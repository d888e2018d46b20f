"""The grammar of sources, the mends it names, and what may serve as an id."""

from __future__ import annotations

import copy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.capture.sources import (
    FOUND_CHARS_MAX,
    VALUE_CHARS_MAX,
    Place,
    Source,
    SourceSyntaxError,
    parse_source,
    usable,
)


@pytest.mark.parametrize(
    ("text", "place", "name", "tokens"),
    [
        ("request.header:X-Request-Id", Place.REQUEST_HEADER, "X-Request-Id", ()),
        ("request.json:/a~1b/0", Place.REQUEST_JSON, "/a~1b/0", ("a/b", "0")),
        ("request.path:app", Place.REQUEST_PATH, "app", ()),
        ("request.query:chat id", Place.REQUEST_QUERY, "chat id", ()),
        ("response.header:X-Conversation-Id", Place.RESPONSE_HEADER, "X-Conversation-Id", ()),
        (" stream.json:/id ", Place.STREAM_JSON, "/id", ("id",)),
        ("cancel.json:/", Place.CANCEL_JSON, "/", ("",)),
    ],
)
def test_every_place_can_be_written(text: str, place: Place, name: str, tokens: tuple[str, ...]) -> None:
    source = parse_source(text)
    assert (source.place, source.name, source.tokens, source.pattern) == (place, name, tokens, None)
    assert str(source) == text.strip()
    assert copy.deepcopy(source) == source
    assert source.tokens == Source(place, name).tokens


def test_a_pattern_may_follow() -> None:
    source = parse_source("request.header:Cookie ~ chat=([^;]+) ~ x")
    assert source.pattern == re.compile("chat=([^;]+) ~ x")
    assert parse_source(str(source)) == source


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("X-Request-Id", "write for example"),
        ("request.header:", "write for example"),
        ("", "write for example"),
        ("request.cookie:a", "use one of request.header, request.json"),
        ("request.json:id", r"write request.json:/id"),
        ("request.json: /id", r"write request.json:/id"),
        ("stream.json:/a~b", "write '~0'"),
        ("request.header:X Id", "write for example request.header:X-Request-Id"),
        ("request.header: X-Id", "write for example"),
        ("response.header:X-Idé", "write for example"),
        ("request.path:{app}", "request.path:app"),
        ("request.query: id", "write for example"),
        ("request.json:/id ~ (", "no regular expression"),
        ("request.json:/id ~ (a){99999999999}", "no regular expression"),
        ("request.json:/id ~ ", "exactly one"),
        ("request.json:/id ~ abc", "has 0 groups"),
        ("request.json:/id ~ (a)(b)", "has 2 groups"),
    ],
)
def test_what_is_no_source_is_refused_with_a_mend(text: str, mend: str) -> None:
    with pytest.raises(SourceSyntaxError, match=mend):
        parse_source(text)


def test_a_pattern_nested_too_deeply_is_refused() -> None:
    with pytest.raises(SourceSyntaxError, match="no regular expression"):
        parse_source("request.json:/id ~ " + "(?:" * 5000 + "(a)" + ")" * 5000)


@pytest.mark.parametrize(
    ("pattern", "value", "found"),
    [
        ("^conv-(.+)$", "conv-7", "7"),
        ("^conv-(.+)$", "chat-7", None),
        ("conv-(.*)", "conv-", None),
        ("a(b)?", "a", None),
        ("(temp_.*)", "x temp_1", "temp_1"),
        ("^(a+)", "a" * (VALUE_CHARS_MAX + 1), None),
        ("^(a)", "a" * FOUND_CHARS_MAX, "a"),
        ("^([[a]+)$", "[a", "[a"),
        ("^(a)", "a" * (FOUND_CHARS_MAX + 1), None),
    ],
)
def test_a_pattern_takes_its_group(pattern: str, value: str, found: str | None) -> None:
    assert parse_source(f"stream.json:/id ~ {pattern}").refine(value) == found


@pytest.mark.parametrize("value", ["a", "conv 1", "\u4f1a\u8bdd", "a/b", "...", "x" * VALUE_CHARS_MAX, "..a"])
def test_usable(value: str) -> None:
    assert usable(value)
    assert parse_source("stream.json:/id").refine(value) == value


@pytest.mark.parametrize(
    "value", ["", " ", "  ", ".", "..", "a\n", "a\r\nX: y", "a\x00", "\ud800", "a\udc80", "\u2028", "\x7f", "x" * 513]
)
def test_not_usable(value: str) -> None:
    assert not usable(value)
    assert parse_source("stream.json:/id").refine(value) is None


def test_nothing_is_refined_to_nothing() -> None:
    assert parse_source("stream.json:/id").refine(None) is None


@given(st.text(st.characters(), max_size=20))
def test_what_is_usable_can_be_written_anywhere(value: str) -> None:
    if usable(value):
        assert value.encode()
        assert len(value.splitlines()) == 1


@given(st.text(max_size=40) | st.builds("{}:{}".format, st.sampled_from(list(Place)), st.text(max_size=20)))
def test_any_text_is_a_source_or_is_refused(text: str) -> None:
    try:
        source = parse_source(text)
    except SourceSyntaxError:
        return
    assert parse_source(str(source)) == source
