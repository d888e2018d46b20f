"""The sidecar's own short answers on the proxied path: a status and a JSON body that says what happened; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.errors import (
    BodyTimeoutError,
    BugError,
    ConversationGoneError,
    ForestalledError,
    HeadTimeoutError,
    HeadTooLargeError,
    InProgressError,
    JournalUnavailableError,
    OverloadedError,
    RollbackPendingError,
    SidecarError,
    TargetTooLongError,
    TooManyError,
    UnsupportedError,
    UpstreamBusyError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from sidecar.wire.fields import head_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sidecar.wire.fields import Field

RETRY_AFTER_S: Final = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of our own: its status, a short code for programs, a sentence for people.

    `retry_after_s` is sent as Retry-After where the same request may well succeed later.
    """

    status: HTTPStatus
    error: str
    message: str
    retry_after_s: int | None = None

    @property
    def body(self) -> bytes:
        """What stands in it."""
        return json.dumps({"error": self.error, "message": self.message}).encode() + b"\n"

    @property
    def fields(self) -> list[Field]:
        """The fields that it has beside those of every answer."""
        return [] if self.retry_after_s is None else [(b"Retry-After", b"%d" % self.retry_after_s)]


_CONFLICT: Final = HTTPStatus.CONFLICT
_ANSWERS: Final[Mapping[type[SidecarError], Answer]] = MappingProxyType(
    {
        HeadTimeoutError: Answer(
            HTTPStatus.REQUEST_TIMEOUT, "head_timeout", "The request's head did not come in time."
        ),
        BodyTimeoutError: Answer(
            HTTPStatus.REQUEST_TIMEOUT, "body_timeout", "The request's body did not come in time."
        ),
        TargetTooLongError: Answer(HTTPStatus.REQUEST_URI_TOO_LONG, "target_too_long", "The request line is too long."),
        HeadTooLargeError: Answer(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", "The request's head is too large."
        ),
        UnsupportedError: Answer(HTTPStatus.NOT_IMPLEMENTED, "unsupported", "This is not done here."),
        OverloadedError: Answer(
            HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "There is too much under way.", RETRY_AFTER_S
        ),
        TooManyError: Answer(
            HTTPStatus.TOO_MANY_REQUESTS, "too_many", "You have too much under way already.", RETRY_AFTER_S
        ),
        BugError: Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "The sidecar failed."),
        ForestalledError: Answer(_CONFLICT, "cancelled", "This request was cancelled before it came."),
        InProgressError: Answer(_CONFLICT, "in_progress", "A request with this id is under way.", RETRY_AFTER_S),
        RollbackPendingError: Answer(
            _CONFLICT, "rollback_pending", "What was cancelled before is still being removed.", RETRY_AFTER_S
        ),
        ConversationGoneError: Answer(HTTPStatus.NOT_FOUND, "gone", "This conversation was cancelled."),
        JournalUnavailableError: Answer(
            HTTPStatus.SERVICE_UNAVAILABLE, "journal_unavailable", "The request was not passed on."
        ),
        UpstreamBusyError: Answer(
            HTTPStatus.SERVICE_UNAVAILABLE, "upstream_busy", "No connection to the upstream was free.", RETRY_AFTER_S
        ),
        UpstreamTimeoutError: Answer(
            HTTPStatus.GATEWAY_TIMEOUT, "upstream_timeout", "The upstream did not answer in time."
        ),
        UpstreamUnreachableError: Answer(
            HTTPStatus.BAD_GATEWAY, "upstream_unreachable", "The upstream cannot be reached."
        ),
        UpstreamProtocolError: Answer(
            HTTPStatus.BAD_GATEWAY, "upstream_failed", "The upstream's answer was not usable."
        ),
    }
)
_BAD_REQUEST: Final = Answer(HTTPStatus.BAD_REQUEST, "bad_request", "The request could not be read.")


def answer_for(error: SidecarError) -> Answer:
    """Say what a failure means downstream."""
    return _ANSWERS.get(type(error), _BAD_REQUEST)


def json_answer(
    status: HTTPStatus, body: bytes, *, added: Iterable[Field] = (), close: bool, head_only: bool = False
) -> bytes:
    """Write an answer with a JSON body; `added` are further fields, `head_only` is for HEAD."""
    fields = [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(body)),
        *added,
        *([(b"Connection", b"close")] if close else []),
    ]
    head = head_bytes(b"HTTP/1.1 %d %b" % (status, status.phrase.encode()), fields)
    return head if head_only else head + body
