"""What is read out of bodies, targets and queries: ids, frames that end an answer, entries of a list."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from fuzz.cut import knob, pieces
from sidecar.capture.inflate import InflateError, Inflater
from sidecar.capture.pointer import parse_pointer, read_json, resolve
from sidecar.capture.request import RequestView, answers_true, capture_request
from sidecar.capture.response import capture_cancel_answer, capture_fields
from sidecar.capture.sources import VALUE_CHARS_MAX, Source, SourceSyntaxError, parse_source, usable
from sidecar.capture.stream import StreamScanner
from sidecar.capture.terminal import parse_terminal
from sidecar.config import Chat, Guard
from sidecar.downstream.cancel_endpoint import BadCancelError, parse_cancel
from sidecar.downstream.json_list import JsonList
from sidecar.downstream.routes import Routes, path_of, query_of

if TYPE_CHECKING:
    from collections.abc import Mapping

CODINGS: Final = (None, "identity", "gzip", "deflate", "br")
TERMINAL: Final = ("data: [DONE]", "END", "stream.json:/done ~ ^(true)$")
SOURCES: Final[Mapping[str, tuple[Source, ...]]] = MappingProxyType(
    {
        "request_id": (parse_source("request.header:X-Request-Id"), parse_source("request.query:r ~ ^(r[0-9]+)$")),
        "conversation_id": (
            parse_source("request.json:/conversationId"),
            parse_source("request.path:id"),
            parse_source("response.header:X-Conversation-Id"),
            parse_source("stream.json:/temp_conversation_id"),
            parse_source("stream.json:/final_conversation_id"),
            parse_source("stream.json:/a/0/id~1x"),
            parse_source("cancel.json:/conversationId"),
        ),
        "message_id": (parse_source("stream.json:/m ~ ^m-([a-z]+)$"),),
    }
)
ROUTES: Final = Routes(
    (Chat(path="/v1/{app}/chat", cancel_path="/v1/cancel"),),
    (Guard.model_validate({"path": "/c/{conversation_id}"}),),
)


def stream(data: bytes) -> None:
    """Look into an answer's body."""
    how, data = knob(data)
    which, data = knob(data)
    coding = CODINGS[which % len(CODINGS)]
    whole, cut = _scan([data] if data else [], coding), _scan(pieces(data, how), coding)
    for told in (whole, cut):
        assert all(usable(value) for value in (told.learned | told.final).values()), told
    if not whole.blind:  # what of a damaged body can still be decoded depends on its pieces
        assert whole == cut, (whole, cut)


@dataclass(frozen=True)
class Told:
    """What a stream told."""

    learned: dict[str, str]
    final: dict[str, str]
    ended: bool
    blind: bool


def _scan(came: list[bytes], coding: str | None) -> Told:
    scanner = StreamScanner(SOURCES, known={}, terminal=TERMINAL, encoding=coding)
    learned: dict[str, str] = {}
    ended = False
    for piece in came:
        at = scanner.feed(piece)
        assert at is None or 0 <= at <= len(piece)
        assert at is None or not ended
        ended |= at is not None
        learned |= scanner.take()
    ended |= scanner.end()
    return Told(learned | scanner.take(), dict(scanner.final), ended, scanner.blind)


def document(data: bytes) -> None:
    """Look into a request's head and body, and into the answer of a cancel call."""
    which, data = knob(data)
    head, _, body = data.partition(b"\n\n")
    query = head.decode("latin-1")
    fields = [(b"X-Request-Id", head[:200]), (b"X-Conversation-Id", body[:200])]
    view = RequestView(fields=fields, path_values={"id": query[:50]}, query=query, body=body if which % 2 else None)
    told = capture_request(SOURCES, view)
    told |= capture_fields(SOURCES, fields, told)
    told |= capture_cancel_answer(SOURCES, body, told)
    assert all(usable(value) and len(value) <= VALUE_CHARS_MAX for value in told.values()), told
    assert all(value.isprintable() for value in told.values()), told
    answers_true(parse_source("request.json:/isNew"), view)
    assert view.legible in {True, False}


def listed(data: bytes) -> None:
    """Cut entries out of a list: what stays is as it was, and what was to go is gone."""
    which, data = knob(data)
    try:
        found = JsonList.read(data, parse_pointer("/items" if which % 2 else ""), ("id",))
    except ValueError:
        return
    assert found.without(()) == data
    ids = sorted(found.ids)
    gone = {one for number, one in enumerate(ids) if which >> (number % 7 + 1) & 1}
    left = found.without(gone)
    again = JsonList.read(left, parse_pointer("/items" if which % 2 else ""), ("id",))
    assert again.ids == found.ids - gone, (found.ids, gone, left)
    read_json(left)


def inflate(data: bytes) -> None:
    """Decode a compressed body."""
    how, data = knob(data)
    which, data = knob(data)
    coding = "deflate" if which % 2 else "gzip"
    whole, cut = _inflate([data] if data else [], coding), _inflate(pieces(data, how), coding)
    assert whole[1] == cut[1], (whole, cut)
    assert whole[1] or whole == cut


def _inflate(came: list[bytes], coding: str) -> tuple[bytes, bool]:
    """Give what came out, and whether it failed."""
    inflater, out = Inflater(coding), list[bytes]()
    try:
        for piece in came:
            out.extend(inflater.inflate(piece))
    except InflateError:
        return b"".join(out), True
    return b"".join(out), False


def source(data: bytes) -> None:
    """Read what an operator writes for a source, a pointer or a terminal frame, and look with it."""
    text, _, body = data.partition(b"\n\n")
    spec = text.decode("utf-8", "replace")
    _look(spec, body)
    try:
        parse_terminal(spec)
    except SourceSyntaxError as error:
        assert str(error)
    try:
        tokens = parse_pointer(spec)
        found: Any = read_json(body)
    except ValueError:
        return
    value = resolve(found, tokens)
    assert value is None or isinstance(value, str)


def _look(spec: str, body: bytes) -> None:
    try:
        found = parse_source(spec)
    except SourceSyntaxError as error:
        assert str(error)
        return
    again = parse_source(str(found))
    assert (again.place, again.name) == (found.place, found.name)
    if found.pattern is None:  # a pattern is the operator's own, and may be as slow as it likes
        value = found.refine(body.decode("latin-1"))
        assert value is None or usable(value)


def route(data: bytes) -> None:
    """Say what a request is, by its target."""
    target = data.decode("latin-1")
    for method in ("POST", "GET"):
        match = ROUTES.find(method, target)
        values = getattr(match, "path_values", {})
        assert all(values.values()), values
    assert path_of(target) or not target.partition("?")[0]
    query_of(target)


def cancel(data: bytes) -> None:
    """Read a request to cancel."""
    try:
        ids = parse_cancel(data)
    except BadCancelError as error:
        assert str(error)
        assert json.dumps({"message": str(error), "field": error.field})
        return
    assert any(ids.values())
    assert all(value is None or usable(value) for value in ids.values()), ids
