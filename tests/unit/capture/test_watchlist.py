"""What a stream is watched for: who wins, what supersedes, and that no marker hides an answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.capture.pointer import resolve
from sidecar.capture.sources import Source, parse_source
from sidecar.capture.watchlist import Watchlist


def sources(*texts: str, name: str = "id") -> dict[str, tuple[Source, ...]]:
    return {name: tuple(map(parse_source, texts))}


TEMP_THEN_FINAL = sources("request.json:/id", "response.header:X-Id", "stream.json:/temp", "stream.json:/final")


def watch(known: dict[str, str] | None = None, *terminal: str) -> Watchlist:
    return Watchlist(TEMP_THEN_FINAL, known or {}, terminal)


def test_the_first_answer_is_learned_and_what_is_real_stays() -> None:
    watchlist = watch()
    watchlist.look_at_document({"final": "a"})
    watchlist.look_at_document({"temp": "b"})
    watchlist.look_at_document({"final": "c"})
    assert (watchlist.learned, watchlist.final, watchlist.empty) == ({"id": "a"}, {}, True)


def test_within_a_document_the_first_in_the_list_wins() -> None:
    watchlist = watch()
    watchlist.look_at_document({"final": "b", "temp": "a"})
    assert (watchlist.learned, watchlist.final, watchlist.empty) == ({"id": "a"}, {}, True)


def test_what_stands_later_supersedes_a_temporary_id_the_last_one_seen() -> None:
    watchlist = watch()
    watchlist.look_at_document({"temp": "temp_1", "final": "a"})
    assert watchlist.take() == {"id": "temp_1"}
    watchlist.look_at_document({"final": "b"})
    watchlist.look_at_document({"final": "temp_1", "temp": "temp_2"})
    assert (watchlist.learned, watchlist.final, watchlist.empty) == ({}, {"id": "b"}, False)


def test_nothing_later_is_left_after_a_temporary_id_of_the_last_source() -> None:
    watchlist = watch()
    watchlist.look_at_document({"final": "temp_1"})
    assert (watchlist.learned, watchlist.empty) == ({"id": "temp_1"}, True)


@pytest.mark.parametrize(("known", "empty"), [("a", True), ("temp_1", False)])
def test_what_is_known_from_elsewhere(known: str, *, empty: bool) -> None:
    watchlist = watch({"id": known})
    assert watchlist.empty is empty
    watchlist.look_at_document({"temp": "temp_1", "final": "b"})
    assert (watchlist.learned, watchlist.final) == ({}, {} if empty else {"id": "b"})


def test_a_source_that_stands_twice_follows_an_id_that_changes_in_place() -> None:
    watchlist = Watchlist(sources("stream.json:/id", "stream.json:/id"), {}, ())
    for value in ("temp_1", "temp_1", "a"):
        watchlist.look_at_document({"id": value})
    assert (watchlist.take(), watchlist.final) == ({"id": "temp_1"}, {"id": "a"})


def test_names_do_not_mix() -> None:
    watchlist = Watchlist(sources("stream.json:/a", name="a") | sources("stream.json:/b", name="b"), {"z": "temp_"}, ())
    watchlist.look_at_document({"b": "temp_1"})
    watchlist.look_at_document({"a": "x", "b": "y"})
    assert (watchlist.learned, watchlist.final, watchlist.empty) == ({"a": "x", "b": "temp_1"}, {}, True)


def test_an_unusable_value_is_no_answer() -> None:
    watchlist = watch()
    unusable: tuple[object, ...] = ("", "a\nb", "\ud800", "x" * 513, None, {}, "..", float("nan"))
    for value in unusable:
        watchlist.look_at_document({"temp": value})
    assert watchlist.learned == {}
    assert not watchlist.empty


def test_only_the_first_terminal_frame_is_told() -> None:
    watchlist = watch({"id": "a"}, "data: [DONE]", "stream.json:/done ~ ^(true)$")
    assert not watchlist.look_at_line(b"data: [DONE]x")
    assert not watchlist.look_at_document({"done": False})
    assert [watchlist.empty] == [False]
    assert watchlist.look_at_document({"done": True})
    assert watchlist.empty
    assert not watchlist.look_at_line(b"data: [DONE]")


def test_without_sources_there_is_nothing_to_watch_and_no_marker() -> None:
    watchlist = Watchlist(sources("request.json:/id"), {}, ())
    assert watchlist.empty
    assert not watchlist.marks(b'{"id": 1} \\u0041')


@pytest.mark.parametrize(
    ("pointer", "line", "marked"),
    [
        ("/id", b'{"id": 1}', True),
        ("/id", b'{"idle": "the id"}', False),
        ("/id", rb'{"\u0069d": 1}', True),
        ("/id", rb'{"text": "\u4f1a\u8bdd"}', False),
        ("/a~1id", rb'{"a\/id": 1}', True),
        ("/a\"b'c", rb'{"a\"b\u0027c": 1}', True),
        ("/chat/id", b'{"chat": {"di": 1}}', False),
        ("/ids/0", b'{"ids": ["a"]}', True),
        ("/ids/0", b'{"x": ["a"]}', False),
        ("/0", b'["a"]', True),
        ("/", b'{"": 1}', True),
        ("/\u4f1a", rb'{"\u4f1a": 1}', True),
        ("/\u4f1a", '{"\u4f1a": 1}'.encode(), True),
        ("/\u4f1a", b'{"x": 1}', False),
        ("/done ~ ^(true)$", b'{"done": false}', False),
        ("/done ~ ^(true)$", b'{"done":true}', True),
        ("/event ~ ^(message_end)$", b'{"event": "message"}', False),
        ("/event ~ ^(message_end)$", rb'{"event": "message\u005fend"}', True),
        ("/event ~ ^(a|b)$", b'{"event": "a"}', True),
        ("/event ~ ^(.)$", b'{"event": "a"}', True),
        ("/event ~ (?i)^(end)$", b'{"event": "END"}', True),
    ],
)
def test_markers(pointer: str, line: bytes, *, marked: bool) -> None:
    assert Watchlist(sources(f"stream.json:{pointer}"), {}, ()).marks(line) is marked


KEYS = st.text(st.characters(codec="utf-8"), max_size=4) | st.sampled_from(
    ["a/b", 'q"q', "0", "1", "back\\slash", "\t"]
)


@st.composite
def _documents_and_paths(draw: st.DrawFn) -> tuple[object, list[str]]:
    document: object = "value"
    path: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            key = draw(KEYS)
            document = draw(st.dictionaries(KEYS, st.text(max_size=3), max_size=2)) | {key: document}
        else:
            index = draw(st.integers(0, 2))
            document = [*["x"] * index, document]
            key = str(index)
        path.insert(0, key)
    return document, path


@given(_documents_and_paths(), st.booleans())
def test_no_marker_hides_an_answer(case: tuple[object, list[str]], ascii_only: bool) -> None:
    document, path = case
    pointer = "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in path)
    source = parse_source("stream.json:/x")
    source = Source(source.place, pointer)
    assert resolve(document, source.tokens) == "value"
    watchlist = Watchlist({"id": (source,)}, {}, ())
    text = json.dumps(document, ensure_ascii=ascii_only)
    assert watchlist.marks(text.encode())
    assert watchlist.marks(text.replace("/", "\\/").encode())
    watchlist.look_at_document(document)
    assert watchlist.learned == {"id": "value"}
