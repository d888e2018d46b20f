"""JSON pointers against RFC 6901's own examples, and JSON that no peer should send."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.capture.pointer import is_index, parse_pointer, read_json, resolve

RFC_DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("pointer", "text"),
    [
        ("/foo/0", "bar"),
        ("/foo/1", "baz"),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ('/k"l', "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
    ],
)
def test_the_examples_of_the_rfc(pointer: str, text: str) -> None:
    assert resolve(RFC_DOCUMENT, parse_pointer(pointer)) == text
    assert resolve(read_json(json.dumps(RFC_DOCUMENT).encode()), parse_pointer(pointer)) == text


def test_an_escaped_tilde_does_not_make_another_escape() -> None:
    assert parse_pointer("/~01") == ("~1",)
    assert parse_pointer("") == ()


@pytest.mark.parametrize("text", ["/~", "/a~2", "/~~0", "/x~/y", "name", "~0"])
def test_what_is_no_pointer_is_refused_with_a_mend(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_pointer(text)


@given(st.lists(st.text(max_size=5), max_size=4))
def test_every_key_can_be_written(tokens: list[str]) -> None:
    text = "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)
    assert parse_pointer(text) == tuple(tokens)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("id", "id"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (17, "17"),
        (-1.5, "-1.5"),
        (1e22, "1e+22"),
        (None, None),
        ({}, None),
        ([1], None),
        (float("nan"), None),
        (float("-inf"), None),
        pytest.param(10**5000, None, id="huge"),
    ],
)
def test_a_value_as_a_text(value: object, text: str | None) -> None:
    assert resolve({"x": value}, ("x",)) == text


@pytest.mark.parametrize(
    "token", ["2", "-1", "-", "00", "01", "1 ", "+1", "1_0", "\u0661", "", pytest.param("9" * 5000, id="huge"), "x"]
)
def test_no_element_of_an_array(token: str) -> None:
    assert resolve(["a", "b"], (token,)) is None


def test_an_index_is_a_key_of_an_object_too() -> None:
    assert resolve({"0": "a"}, ("0",)) == "a"
    assert is_index("0")
    assert not is_index("0\n")


@pytest.mark.parametrize("document", ["text", 5, True, None])
def test_nothing_is_below_a_plain_value(document: object) -> None:
    assert resolve(document, ("0",)) is None


@pytest.mark.parametrize(
    "number",
    ["1", "-0", "1.0", "1.50", "1E400", "12345678901234567890", pytest.param("9" * 5000, id="huge"), "0.1e-7"],
)
def test_a_number_stays_as_it_was_written(number: str) -> None:
    document = read_json(f'{{"id": {number}, "ids": [{number}]}}'.encode())
    assert resolve(document, ("id",)) == number
    assert resolve(document, ("ids", "0")) == number


@pytest.mark.parametrize(
    "data",
    [
        b'\xef\xbb\xbf{"id": "a"}',
        b'{"t": NaN, "u": [Infinity, -Infinity], "id": "a"}',
        b'{"id": "b", "id": "a"}',
        b'{"t": "a\tb\nc\x00", "id": "a"}',
        b' \r\n{"id"\t:"\\u0061"}\r\n',
    ],
)
def test_a_flawed_text_still_tells(data: bytes) -> None:
    assert resolve(read_json(data), ("id",)) == "a"


def test_what_is_no_number_is_no_value() -> None:
    assert resolve(read_json(b"[NaN]"), ("0",)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"{",
        b'{"id": "\xff"}',
        b'{"id": "\xed\xa0\x80"}',
        '{"id": "a"}'.encode("utf-16"),
        b'{"id": "a"} {}',
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=["empty", "text", "cut", "latin-1", "surrogate", "utf-16", "two", "open", "deep objects", "deep arrays"],
)
def test_what_cannot_be_read_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (each has its own message)
        read_json(data)


@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        read_json(data)
    except ValueError:
        return
    json.loads(data, strict=False)
