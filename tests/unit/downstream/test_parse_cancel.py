"""What a request to cancel may say; what is wrong with it names the field."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.capture.sources import VALUE_CHARS_MAX
from sidecar.downstream.cancel_endpoint import FIELDS, BadCancelError, parse_cancel

# Without dots, and what could encode one, none is a dot segment in disguise.
ID = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=".%"), min_size=3, max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WRONG = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.lists(ID, max_size=2),
    st.dictionaries(ID, ID, max_size=2),
    st.sampled_from(["", " ", "\t", "..", ".", "a\nb", "a\x00b", "\ud800", "\u202e", "x" * (VALUE_CHARS_MAX + 1)]),
)


def body(document: object) -> bytes:
    return json.dumps(document).encode()


def refused(raw: bytes) -> BadCancelError:
    with pytest.raises(BadCancelError) as raised:
        parse_cancel(raw)
    return raised.value


@given(st.none() | ID, ID, st.booleans(), st.dictionaries(st.text(max_size=5), JSON, max_size=2))
def test_one_id_or_both(one: str | None, other: str, swapped: bool, rest: dict[str, object]) -> None:
    ids = {"requestId": other, "conversationId": one} if swapped else {"requestId": one, "conversationId": other}
    assert parse_cancel(body({**rest, **ids})) == ids
    present = {name: value for name, value in ids.items() if value is not None}
    assert parse_cancel(body(present)) == ids


@pytest.mark.parametrize("field", FIELDS)
@given(wrong=WRONG, other=st.none() | ID)
def test_a_wrong_id_is_named_even_where_the_other_is_right(field: str, wrong: object, other: str | None) -> None:
    (second,) = (name for name in FIELDS if name != field)
    error = refused(body({field: wrong, second: other}))
    assert error.field == field
    assert field in str(error)
    assert error.status is HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("document", [{}, {"requestid": "x"}, dict.fromkeys(FIELDS), {"request_id": "x"}])
def test_no_id_at_all(document: dict[str, Any]) -> None:
    error = refused(body(document))
    assert error.field == "requestId"
    assert "conversationId" in str(error)


@pytest.mark.parametrize("document", [None, True, 1, 1.5, "requestId", [], [{"requestId": "x"}]])
def test_what_is_no_object(document: object) -> None:
    error = refused(body(document))
    assert error.field is None
    assert "JSON object" in str(error)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"requestId=x",
        b'{"requestId": "x"',
        b"\xff\xfe",
        b'{"requestId": "\xff"}',
        b"[" * 60_000,
        b"9" * 5000,
    ],
)
def test_what_is_no_json(raw: bytes) -> None:
    error = refused(raw)
    assert error.field is None
    assert "JSON" in str(error)


@given(st.binary(max_size=60))
def test_any_bytes_are_either_ids_or_refused(raw: bytes) -> None:
    try:
        ids = parse_cancel(raw)
    except BadCancelError:
        return
    assert set(ids) == set(FIELDS)


@given(JSON)
def test_any_document_is_either_ids_or_refused(document: object) -> None:
    try:
        ids: dict[str, str | None] | None = parse_cancel(body(document))
    except BadCancelError:
        ids = None
    assert ids is None or any(ids.values())


def test_the_message_quotes_nothing_of_the_body() -> None:
    assert "secret" not in str(refused(b'{"requestId": ["secret"]}')) + str(refused(b"secret"))
