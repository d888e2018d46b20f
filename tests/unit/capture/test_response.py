"""What an answer's header fields tell, and the admin API's answer to a cancel call."""

from __future__ import annotations

import pytest

from sidecar.capture.response import capture_cancel_answer, capture_fields
from sidecar.capture.sources import parse_source

SOURCES = {
    "conversation_id": tuple(
        map(
            parse_source,
            [
                "request.header:X-Request",
                "response.header:X-Missing",
                "cancel.json:/missing",
                "response.header:X-Conversation-Id",
                "cancel.json:/conversation/id",
                "response.header:X-Later",
                "stream.json:/id",
            ],
        )
    ),
    "task_id": (parse_source("response.header:Location ~ /tasks/([^/?]+)"), parse_source("cancel.json:/tasks/0")),
}


def test_the_first_field_that_answers() -> None:
    fields = [
        (b"X-Request", b"no"),
        (b"x-later", b"later"),
        (b"x-conversation-id", b"conv"),
        (b"X-Conversation-Id", b"other"),
        (b"Location", b"/v1/tasks/t-1?x"),
    ]
    assert capture_fields(SOURCES, fields, ()) == {"conversation_id": "conv", "task_id": "t-1"}
    assert capture_fields(SOURCES, fields, {"conversation_id"}) == {"task_id": "t-1"}
    assert capture_fields(SOURCES, fields[:2], {}) == {"conversation_id": "later"}
    assert capture_fields(SOURCES, [], ()) == {}


def test_a_cancel_answer() -> None:
    body = b'{"conversation": {"id": 17}, "tasks": ["t"], "id": "no"}'
    assert capture_cancel_answer(SOURCES, body, ()) == {"conversation_id": "17", "task_id": "t"}
    assert capture_cancel_answer(SOURCES, body, {"task_id": "x"}) == {"conversation_id": "17"}


@pytest.mark.parametrize(
    "body", [b"", b"OK", b"{}", b"null", b"\xff", pytest.param(b"[" * 100_000, id="deep"), b'{"tasks": ["a\\nb"]}']
)
def test_a_cancel_answer_that_tells_nothing(body: bytes) -> None:
    assert capture_cancel_answer(SOURCES, body, ()) == {}
