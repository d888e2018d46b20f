"""Reads a chat request as far as its turn has to know it, before anyone else hears of it.

The body is held only up to `inspect_bytes_max`. A longer one is relayed as it comes: the ids in it stay unknown, and
since it might name a conversation, its turn does not count as the beginning of one (law 3).
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from sidecar.capture.request import RequestView, answers_true, capture_request
from sidecar.capture.sources import usable
from sidecar.downstream.routes import query_of
from sidecar.turn.state import Turn
from sidecar.wire.fields import Field, field_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.config import Chat
    from sidecar.downstream.connection import Connection
    from sidecar.downstream.edge import Edge
    from sidecar.downstream.request import Request
    from sidecar.downstream.routes import ChatMatch, ChatRoute

REQUEST_ID: Final = b"X-Request-Id"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A turn that is not let in yet, and the fields that its request lacked."""

    turn: Turn
    added_fields: list[Field]


async def read_newcomer(request: Request, connection: Connection, match: ChatMatch, edge: Edge) -> Newcomer:
    """Read a chat request. Raises PeerError where its body does not come whole."""
    chat = match.route.chat
    ask_for_body(request, connection)
    body, whole = await request.body.gather(chat.inspect_bytes_max)
    if not whole:
        log.warning("body_not_inspected", route=chat.route, inspect_bytes_max=chat.inspect_bytes_max)
        edge.observer.body_not_inspected(chat.route)
    view = RequestView(
        fields=request.fields,
        path_values=match.path_values,
        query=query_of(request.target),
        body=body if whole else None,
    )
    captured = _captured(match, view)
    now = edge.clock()
    added = _added_fields(view, captured, now)
    begins = await _begins(match.route, view, captured, edge)
    turn = Turn(
        id=f"{int(now * 1000):012x}{secrets.token_hex(8)}",
        route=chat.route,
        principal=edge.principals.of(request.fields, chat.identity),
        begins=begins,
        captured=captured,
        created_at=now,
        plan=match.route.plan,
        temp_id=_temp_id(chat, begins=begins),
        traceparent=_traceparent(view),
        heard=False,
    )
    return Newcomer(turn=turn, added_fields=added)


async def look_again(turn: Turn, chat: Chat, edge: Edge) -> Turn:
    """Ask once more whether a turn begins its conversation, where that is asked at all: it may be gone by now."""
    if chat.begins != "probe" or turn.conversation_id is None:
        return turn
    begins = await edge.admin.shows(turn.captured) is False
    return replace(turn, begins=begins, temp_id=_temp_id(chat, begins=begins))


def ask_for_body(request: Request, connection: Connection) -> None:
    """Meet `Expect: 100-continue` here (RFC 9110, 10.1.1): the body is needed before the upstream may hear of it."""
    if request.expects_continue and not request.body.complete:
        connection.write(CONTINUE)


def _temp_id(chat: Chat, *, begins: bool) -> str | None:
    return f"temp_{uuid4()}" if chat.announce and begins else None


def _captured(match: ChatMatch, view: RequestView) -> dict[str, str]:
    named = {name: value for name, value in match.path_values.items() if usable(value)}
    return {**named, **capture_request(match.route.sources, view)}


def _added_fields(view: RequestView, captured: dict[str, str], now: float) -> list[Field]:
    """Mint a request id where none came (M4); say what the upstream has to be sent so that it knows the id."""
    came = field_values(view.fields, REQUEST_ID.lower())
    if "request_id" not in captured:
        captured["request_id"] = f"req_{int(now * 1000)}_{secrets.token_hex(5)}"
    elif came:
        return []
    return [(REQUEST_ID, captured["request_id"].encode())]


async def _begins(route: ChatRoute, view: RequestView, captured: Mapping[str, str], edge: Edge) -> bool:
    """Say whether the turn begins a new conversation (M2); where that cannot be told, it does not."""
    if route.begins is not None:
        return answers_true(route.begins, view)
    if route.chat.begins == "always":
        return True
    if not view.legible and route.names_conversation_in_json:
        return False
    if "conversation_id" not in captured:
        return True
    return route.chat.begins == "probe" and await edge.admin.shows(captured) is False


def _traceparent(view: RequestView) -> str | None:
    """Give the request's trace context (W3C Trace Context, 3.2), if it has one that is well formed."""
    values = field_values(view.fields, b"traceparent")
    text = values[0].decode("latin-1") if values else ""
    return text if _TRACEPARENT.fullmatch(text) else None
