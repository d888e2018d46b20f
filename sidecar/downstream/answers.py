"""The sidecar's own short answers on the proxied path: a status and a JSON body that says what happened; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.downstream.headers import head_bytes
from sidecar.errors import (
    ConversationGoneError,
    ForestalledError,
    InProgressError,
    JournalUnavailableError,
    RollbackPendingError,
    SidecarError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.downstream.headers import Field

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


_CONFLICT: Final = HTTPStatus.CONFLICT
_ANSWERS: Final[Mapping[type[SidecarError], Answer]] = MappingProxyType(
    {
        ForestalledError: Answer(_CONFLICT, "cancelled", "This request was cancelled before it came."),
        InProgressError: Answer(_CONFLICT, "in_progress", "A request with this id is under way.", RETRY_AFTER_S),
        RollbackPendingError: Answer(
            _CONFLICT, "rollback_pending", "What was cancelled before is still being removed.", RETRY_AFTER_S
        ),
        ConversationGoneError: Answer(HTTPStatus.NOT_FOUND, "gone", "This conversation was cancelled."),
        JournalUnavailableError: Answer(
            HTTPStatus.SERVICE_UNAVAILABLE, "journal_unavailable", "The request was not passed on."
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


def answer_bytes(answer: Answer, *, added: list[Field], close: bool, head_only: bool) -> bytes:
    """Write an answer; `added` are further fields, `head_only` is for HEAD."""
    body = json.dumps({"error": answer.error, "message": answer.message}).encode() + b"\n"
    fields = [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(body)),
        *([] if answer.retry_after_s is None else [(b"Retry-After", b"%d" % answer.retry_after_s)]),
        *added,
        *([(b"Connection", b"close")] if close else []),
    ]
    status = answer.status
    head = head_bytes(b"HTTP/1.1 %d %b" % (status, status.phrase.encode()), fields)
    return head if head_only else head + body
