"""What is found in a request: the first source that answers wins; the body is parsed once, and only if need be."""

from __future__ import annotations

import pytest

from sidecar.capture import request
from sidecar.capture.request import RequestView, answers_true, capture_request
from sidecar.capture.sources import Source, parse_source


def view(
    fields: list[tuple[bytes, bytes]] | None = None,
    path_values: dict[str, str] | None = None,
    query: str = "",
    body: bytes | None = b"",
) -> RequestView:
    return RequestView(fields or [], path_values or {}, query, body)


def sources(*texts: str) -> dict[str, tuple[Source, ...]]:
    return {"id": tuple(map(parse_source, texts))}


def found(seen: RequestView, *texts: str) -> str | None:
    return capture_request(sources(*texts), seen).get("id")


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ([(b"x-iD", b"a")], "a"),
        ([(b"X-Other", b"b"), (b"X-ID", b"a"), (b"X-Id", b"c")], "a"),
        ([(b"X-Id", b" a\t")], "a"),
        ([(b"X-Id", "\u4f1a".encode())], "\u4f1a"),
        ([(b"X-Id", b"caf\xe9")], "caf\u00e9"),
        ([(b"X-Id", b"\x80")], None),
        ([(b"X-Id", b""), (b"X-Id", b"a")], None),
        ([(b"X-Idx", b"a"), (b"\xff", b"a")], None),
        ([], None),
    ],
)
def test_a_header(fields: list[tuple[bytes, bytes]], value: str | None) -> None:
    assert found(view(fields), "request.header:X-Id") == value


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("id=a", "a"),
        ("x=1&id=a&id=b", "a"),
        ("id=a%20b+c%2Bd", "a b c+d"),
        ("%69d=a", "a"),
        ("id=%E4%BC%9A", "\u4f1a"),
        ("id=%FF", None),
        ("id=", None),
        ("id=&id=a", None),
        ("id", None),
        ("ID=a", None),
        ("", None),
        ("&&=&", None),
    ],
)
def test_a_query(query: str, value: str | None) -> None:
    assert found(view(query=query), "request.query:id") == value


def test_a_path_value_is_taken_as_it_is() -> None:
    assert found(view(path_values={"chat": "a%2Fb/c"}), "request.path:chat") == "a%2Fb/c"
    assert found(view(path_values={"chat": "\udcff"}), "request.path:chat") is None
    assert found(view(path_values={"chat": "a"}), "request.path:app") is None


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"id": "a"}', "a"),
        (b'{"id": 5}', "5"),
        (b'{"id": null}', None),
        (b'{"id": ""}', None),
        (b'{"id": "\\ud800"}', None),
        (b'{"id": ["a"]}', None),
        (b'["id"]', None),
        (b"id=a", None),
        pytest.param(b"[" * 100_000, None, id="deep"),
        (b"", None),
        (None, None),
    ],
)
def test_a_body(body: bytes | None, value: str | None) -> None:
    assert found(view(body=body), "request.json:/id") == value


@pytest.mark.parametrize(
    ("body", "legible"),
    [
        (b"{}", True),
        (b"null", True),
        (b"", True),
        (None, False),
        (b"id=a", False),
        (b"{", False),
        pytest.param(b"[" * 100_000, False, id="deep"),
    ],
)
def test_whether_silence_means_that_nothing_is_there(body: bytes | None, legible: bool) -> None:
    assert view(body=body).legible is legible


def test_the_first_source_that_answers_wins() -> None:
    seen = view([(b"A", b"header")], {"p": "path"}, "q=query", b'{"j": "json", "null": null}')
    every = ["request.json:/null", "request.header:B", "request.path:p", "request.json:/j", "request.query:q"]
    assert found(seen, *every) == "path"
    assert found(seen, *reversed(every)) == "query"
    assert found(seen, "request.header:A ~ ^(x)", "request.header:A ~ ^(..)") == "he"


def test_other_places_are_not_looked_at() -> None:
    seen = view([(b"A", b"header")], body=b'{"j": "json"}')
    assert capture_request(sources("response.header:A", "stream.json:/j", "cancel.json:/j"), seen) == {}


def test_each_name_is_captured_for_itself() -> None:
    seen = view(query="a=1&b=2")
    named = {name: (parse_source(f"request.query:{name}"),) for name in "abc"}
    assert capture_request(named, seen) == {"a": "1", "b": "2"}


def test_the_body_is_parsed_at_most_once_and_only_if_need_be(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def read(data: bytes) -> object:
        parsed.append(data)
        return {"b": "x"}

    monkeypatch.setattr(request, "read_json", read)
    seen = view([(b"A", b"header")], body=b"...")
    assert found(seen, "request.header:A", "request.json:/b") == "header"
    assert parsed == []
    assert found(seen, "request.json:/a", "request.json:/b") == "x"
    assert seen.legible
    assert parsed == [b"..."]


@pytest.mark.parametrize(
    ("body", "true"),
    [
        (b'{"isNew": true}', True),
        (b'{"isNew": "True"}', True),
        (b'{"isNew": "YES"}', True),
        (b'{"isNew": 1}', True),
        (b'{"isNew": false}', False),
        (b'{"isNew": "no"}', False),
        (b'{"isNew": 0}', False),
        (b'{"isNew": 2}', False),
        (b'{"isNew": null}', False),
        (b"{}", False),
        (b"true", False),
        (None, False),
    ],
)
def test_answers_true(body: bytes | None, true: bool) -> None:
    assert answers_true(parse_source("request.json:/isNew"), view(body=body)) is true


def test_what_answers_true_may_be_anywhere_in_a_request() -> None:
    assert answers_true(parse_source("request.query:new"), view(query="new=1"))
    assert answers_true(parse_source("request.header:X-New ~ ^(yes),"), view([(b"X-New", b"yes, please")]))
    assert not answers_true(parse_source("stream.json:/new"), view(body=b'{"new": true}'))
