"""The cancel endpoint (M3): `POST {"requestId", "conversationId"}`, either may be missing.

        200 {"status": "cancelled"}   stopped now, or before
        202 {"status": "cancelled"}   nothing known of it; should the request still come, it goes nowhere
        200 {"status": "completed"}   it had ended, and its grace time was over

A stranger gets what anyone gets for an unknown id. Bad input is a 400 or 413 that names the field.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import ClientError, web

from sidecar.capture.sources import VALUE_CHARS_MAX, usable
from sidecar.downstream.connection import end_broken_body
from sidecar.downstream.newcomer import ask_for_body
from sidecar.engine.cancellation import CancelOutcome
from sidecar.errors import DownstreamGoneError, JournalUnavailableError

if TYPE_CHECKING:
    from sidecar.config import Chat
    from sidecar.downstream.edge import Edge

BODY_BYTES_MAX: Final = 65_536
FIELDS: Final = ("requestId", "conversationId")


class BadCancelError(Exception):
    """The request to cancel cannot be understood: the field (None: the body), and what is wrong with it."""

    def __init__(self, field: str | None, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.field = field
        self.status = status


async def answer_cancel(edge: Edge, request: web.BaseRequest, chat: Chat) -> web.Response:
    """Cancel what the request means, and say what came of it. Raises DownstreamGoneError."""
    try:
        ids = parse_cancel(await _read(request))
    except BadCancelError as error:
        return _json(error.status, error="invalid", field=error.field, message=str(error))
    try:
        outcome = await edge.desk.cancel(
            edge.principals.of(request.raw_headers, chat.identity),
            request_id=ids["requestId"],
            conversation_id=ids["conversationId"],
            grace_s=chat.cancel_grace_s,
        )
    except JournalUnavailableError:
        return _json(HTTPStatus.SERVICE_UNAVAILABLE, error="journal_unavailable", message="Try again.")
    if outcome is CancelOutcome.REMEMBERED:
        return _json(HTTPStatus.ACCEPTED, status="cancelled")
    return _json(HTTPStatus.OK, status=outcome.value)


def parse_cancel(body: bytes) -> dict[str, str | None]:
    """Read the body: both ids, None for a missing one. Raises BadCancelError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadCancelError(None, 'the body is not JSON; send {"requestId": "..."}') from None
    if not isinstance(document, dict):
        raise BadCancelError(None, 'the body is not a JSON object; send {"requestId": "..."}')
    ids = {field: _parse_id(field, document.get(field)) for field in FIELDS}
    if not any(ids.values()):
        raise BadCancelError("requestId", "requestId and conversationId are both missing; send at least one")
    return ids


def _parse_id(field: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadCancelError(field, f"{field} is not a string")
    if not usable(value):
        raise BadCancelError(field, f"{field} is empty, unprintable, or longer than {VALUE_CHARS_MAX} characters")
    return value


async def _read(request: web.BaseRequest) -> bytes:
    too_large = BadCancelError(None, f"the body is over {BODY_BYTES_MAX} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise too_large
    ask_for_body(request)
    body = bytearray()
    try:
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > BODY_BYTES_MAX:
                raise too_large
    except (ClientError, OSError) as error:
        raise DownstreamGoneError("downstream left while it asked to cancel") from error
    except web.RequestPayloadError:
        end_broken_body(request.content)
        raise BadCancelError(None, "the body could not be read") from None
    return bytes(body)


def _json(http_status: HTTPStatus, **fields: str | None) -> web.Response:
    present = {name: value for name, value in fields.items() if value is not None}
    return web.json_response(present, status=http_status)
