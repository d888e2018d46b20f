"""The sidecar's own answers: each failure its status, each answer well-formed and free of what the failure quoted."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from sidecar import errors
from sidecar.downstream.answers import Answer, answer_for, json_answer
from sidecar.wire.answer_head import parse_head

if TYPE_CHECKING:
    from sidecar.wire.fields import Field

STATUS: dict[type[errors.SidecarError], int] = {
    errors.ForestalledError: 409,
    errors.InProgressError: 409,
    errors.RollbackPendingError: 409,
    errors.ConversationGoneError: 404,
    errors.JournalUnavailableError: 503,
    errors.UpstreamTimeoutError: 504,
    errors.UpstreamBusyError: 503,
    errors.UpstreamUnreachableError: 502,
    errors.UpstreamProtocolError: 502,
    errors.DownstreamGoneError: 400,
    errors.MalformedError: 400,
    errors.HeadTimeoutError: 408,
    errors.BodyTimeoutError: 408,
    errors.TargetTooLongError: 414,
    errors.TooManyError: 429,
    errors.HeadTooLargeError: 431,
    errors.BugError: 500,
    errors.UnsupportedError: 501,
    errors.OverloadedError: 503,
}


@pytest.mark.parametrize(("error", "status"), STATUS.items(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_each_failure_has_its_status(error: type[errors.SidecarError], status: int) -> None:
    answer = answer_for(error("the secret at 10.0.0.1"))
    assert answer.status == status
    assert "secret" not in answer.message + answer.error


def test_every_failure_of_a_peer_has_one() -> None:
    ours = {error for error in errors.PeerError.__subclasses__() if error.__module__ == errors.__name__}
    assert ours <= STATUS.keys()


def test_each_failure_has_its_own_code() -> None:
    codes = [answer_for(error("x")).error for error in STATUS]
    plain = {errors.DownstreamGoneError, errors.MalformedError}  # whatever is wrong with a request
    assert len(set(codes)) == len(codes) - len(plain) + 1


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("added", [[], [(b"X-Request-Id", b"r1"), (b"X-Conversation-Id", b"c1")]])
def test_an_answer_is_a_whole_response(added: list[Field], *, close: bool) -> None:
    answer = Answer(HTTPStatus.BAD_GATEWAY, "code", 'a "sentence"')
    raw = json_answer(answer.status, answer.body, added=added, close=close)
    head_raw, _, body = raw.partition(b"\r\n\r\n")
    head = parse_head(head_raw + b"\r\n\r\n")
    assert (head.status, head.reason) == (502, b"Bad Gateway")
    assert json.loads(body) == {"error": "code", "message": 'a "sentence"'}
    assert head.get(b"content-length") == b"%d" % len(body)
    assert head.get(b"content-type") == b"application/json"
    assert head.get(b"connection") == (b"close" if close else None)
    assert all(head.get(name) == value for name, value in added)


@pytest.mark.parametrize("error", STATUS, ids=lambda error: error.__name__)
def test_only_what_may_well_succeed_soon_says_when(error: type[errors.SidecarError]) -> None:
    soon = {
        errors.InProgressError,
        errors.RollbackPendingError,
        errors.OverloadedError,
        errors.TooManyError,
        errors.UpstreamBusyError,
    }
    assert answer_for(error("x")).fields == ([(b"Retry-After", b"1")] if error in soon else [])


def test_a_head_alone_is_that_of_the_whole() -> None:
    answer = Answer(HTTPStatus.CONFLICT, "code", "sentence")
    whole = json_answer(answer.status, answer.body, close=False)
    head = json_answer(answer.status, answer.body, close=False, head_only=True)
    assert head == whole[: whole.index(b"\r\n\r\n") + 4]
