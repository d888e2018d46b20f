"""The cancel endpoint (M3): `POST {"requestId", "conversationId"}`, either may be missing.

        200 {"status": "cancelled"}   stopped now, or before
        202 {"status": "cancelled"}   nothing known of it; should the request still come, it goes nowhere
        200 {"status": "completed"}   it had ended, and its grace time was over

        429                           the principal asks too often, or has too much remembered already

A stranger gets what anyone gets for an unknown id. Bad input is a 400 or 413 that names the field.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.capture.sources import VALUE_CHARS_MAX, usable
from sidecar.downstream.exchange import Exchange
from sidecar.downstream.newcomer import ask_for_body
from sidecar.downstream.tally import DOWNSTREAM_LEFT
from sidecar.engine.cancellation import CancelOutcome
from sidecar.errors import JournalUnavailableError, MalformedError

if TYPE_CHECKING:
    from sidecar.downstream.connection import Connection
    from sidecar.downstream.edge import Edge
    from sidecar.downstream.request import Request
    from sidecar.downstream.routes import CancelMatch
    from sidecar.downstream.server import Front

BODY_BYTES_MAX: Final = 65_536
_TOO_LARGE: Final = f"the body is over {BODY_BYTES_MAX} bytes"
FIELDS: Final = ("requestId", "conversationId")

log = structlog.get_logger()


class BadCancelError(Exception):
    """The request to cancel cannot be understood: the field (None: the body), and what is wrong with it."""

    def __init__(self, field: str | None, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.field = field
        self.status = status


class CancelExchange(Exchange):
    """A request to cancel, answered here; the upstream hears of it through the admin API only."""

    def __init__(self, edge: Edge, front: Front, connection: Connection, request: Request, match: CancelMatch) -> None:
        super().__init__(edge, front, connection, request)
        self._chat = match.chat
        self._route = match.chat.cancel_path

    def report(self) -> None:
        """Write a line of its own: it is no exchange with the upstream."""
        if self.tally.status != DOWNSTREAM_LEFT:
            log.info("cancel", route=self._chat.cancel_path, status=self.tally.status)

    def _start(self) -> None:
        self._run(self._cancel())

    async def _cancel(self) -> None:
        """Cancel what the request means, and say what came of it."""
        principal = self._edge.principals.of(self._request.fields, self._chat.identity)
        self._edge.quota.ask(
            principal if principal != self._edge.principals.nobody else self._connection.peer.address,
            limit=self._chat.cancels_per_minute_max,
            now=self._loop.time(),
        )
        try:
            ids = parse_cancel(await self._read())
        except BadCancelError as error:
            self._tell(error.status, error="invalid", field=error.field, message=str(error))
            return
        try:
            outcome = await self._edge.desk.cancel(
                principal,
                request_id=ids["requestId"],
                conversation_id=ids["conversationId"],
                grace_s=self._chat.cancel_grace_s,
            )
        except JournalUnavailableError:
            self._tell(HTTPStatus.SERVICE_UNAVAILABLE, error="journal_unavailable", message="Try again.")
            return
        if outcome is CancelOutcome.REMEMBERED:
            self._tell(HTTPStatus.ACCEPTED, status="cancelled")
        else:
            self._tell(HTTPStatus.OK, status=outcome.value)

    async def _read(self) -> bytes:
        request = self._request
        if int(request.fields.get(b"content-length") or 0) > BODY_BYTES_MAX:
            raise BadCancelError(None, _TOO_LARGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        ask_for_body(request, self._connection)
        try:
            body, whole = await request.body.gather(BODY_BYTES_MAX)
        except MalformedError:
            raise BadCancelError(None, "the body could not be read") from None
        if not whole:
            raise BadCancelError(None, _TOO_LARGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return body

    def _tell(self, http_status: HTTPStatus, **members: str | None) -> None:
        if not self._over.done():
            present = {name: value for name, value in members.items() if value is not None}
            self._reply(http_status, json.dumps(present).encode())


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
