"""An answer read to its end: whether it is the sidecar's, came as it was made, and tells what is needed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from sidecar.capture.sources import Place
from sidecar.doctor.findings import Finding, fail, ok, skip, time_text, warn
from sidecar.doctor.fronts import Trouble, mends_of
from sidecar.turn.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.config import Chat
    from sidecar.doctor.visit import Visit
    from sidecar.turn.state import Turn

STREAMS_S: Final = 0.8
"""An answer that is made in less time does not tell whether it was held back."""
LAG_MAX_S: Final = 0.5
LAG_SHARE_MAX: Final = 0.3
HINTS_MAX: Final = 4
CONVERSATION_ID: Final = "X-Conversation-Id"
_DELIVERED: Final = frozenset({State.COMPLETED, State.CONFIRMING})
_ID_LIKE: Final = re.compile(r"(?:^|[_-])(?i:id|uuid)$|[a-z]I[dD]$")
_COMMON_FIELDS: Final = frozenset({"x-request-id"})
_REFUSALS: Final[Mapping[int, str]] = {
    301: "give the URL that it leads to",
    302: "give the URL that it leads to",
    307: "give the URL that it leads to",
    308: "give the URL that it leads to",
    400: "give a body that the backend takes, with --body",
    401: "give the client's credentials, with --header 'Authorization: ...'",
    403: "give the client's credentials, with --header 'Authorization: ...'",
    404: "have the front pass this path on to the sidecar, or mend --url (its prefix) or --route",
    405: "mend --route, or the front's rules about methods",
    411: "have the front pass Content-Length on",
    413: "allow larger bodies: nginx: client_max_body_size",
    415: "give the Content-Type that the backend takes, with --header",
    422: "give a body that the backend takes, with --body",
    429: "wait, or raise the limits of the backend or the front",
    502: "see whether the front finds the sidecar, and the sidecar its upstream.url",
    503: "see whether the front finds the sidecar, and the sidecar's own log",
    504: "raise the front's time-out (nginx: proxy_read_timeout) above upstream.response_timeout_s",
}


def success(visit: Visit) -> Finding:
    """Judge whether the chat was answered at all. Where it was not, nothing else can be told."""
    if visit.status is None:
        return fail("answered", f"the chat was not answered: {visit.error}", "see the sidecar's log and the backend's")
    if not visit.answered:
        mend = _REFUSALS.get(visit.status, "see the sidecar's log and the backend's")
        return fail("answered", f"the chat was answered {visit.status}{_quoted(visit.body)}", mend)
    if visit.error is not None:
        return fail("answered", f"the answer did not come to its end: {visit.error}", "see the sidecar's log")
    if visit.ended_at is None:
        return warn("answered", "the answer is very long, and was read no further", "ask for less, with --body")
    pieces = f"{visit.pieces} piece{'' if visit.pieces == 1 else 's'}"
    return ok("answered", f"answered {visit.status}, in {pieces} over {time_text(visit.ended_at - visit.sent_at)}")


def tracked(visit: Visit, turn: Turn | None) -> Finding:
    """Judge whether the sidecar has the chat as a turn, under its client's request id."""
    if turn is None:
        return fail(
            "tracked",
            "the sidecar has no turn for this chat",
            "see whether the URL leads to the sidecar of this configuration: upstreams of the front, journal.path",
        )
    if turn.request_id != visit.request_id:
        what = f"the sidecar knows the chat as {turn.request_id}: X-Request-Id was changed on the way there"
        return fail("tracked", what, *mends_of(Trouble.REQUEST_ID, None))
    return ok("tracked", f"the sidecar journalled it as turn {turn.id}")


def request_id_back(visit: Visit, front: str | None) -> Finding:
    """Judge whether the client is told its request id."""
    if visit.shown_id == visit.request_id:
        return ok("request_id", "X-Request-Id comes back to the client")
    what = "the answer has no X-Request-Id" if visit.shown_id is None else "the answer has another X-Request-Id"
    return warn("request_id", f"{what}: changed on the way back", *mends_of(Trouble.ANSWER_HEADER, front))


def conversation_id_back(visit: Visit, turn: Turn, chat: Chat, front: str | None) -> Finding:
    """Judge whether the client is told the conversation's id, where the backend tells it in that header alone."""
    shown = visit.headers.get(CONVERSATION_ID)
    if shown is not None:
        return ok("conversation_id", f"{CONVERSATION_ID} comes to the client")
    told_in = {source.place for source in chat.capture["conversation_id"]}
    if turn.conversation_id is not None and turn.begins and told_in <= {Place.RESPONSE_HEADER, Place.REQUEST_JSON}:
        what = f"{CONVERSATION_ID} does not come to the client, though the sidecar has it"
        return warn("conversation_id", what, *mends_of(Trouble.ANSWER_HEADER, front))
    return skip("conversation_id", f"no {CONVERSATION_ID}: not known before the answer began")


def captured(visit: Visit, turn: Turn) -> Finding:
    """Judge whether everything is captured that the admin calls need."""
    needed = sorted(frozenset().union(*turn.plan.needs.values()))
    missing = [name for name in needed if name not in turn.captured]
    if not needed:
        return skip("captured", "no admin call needs an id")
    if not missing:
        return ok("captured", f"captured what the admin calls need: {', '.join(needed)}")
    hints = list(_hints(visit))[:HINTS_MAX]
    seen = f"; these look like ids: {', '.join(hints)}" if hints else ""
    mends = [f"chat.capture.{name}: name a source that the chat really has{seen}" for name in missing]
    return fail("captured", f"not captured, though admin calls need it: {', '.join(missing)}", *mends)


def in_time(visit: Visit, turn: Turn, front: str | None) -> Finding:
    """Judge whether the answer came as it was made, by when it began, here and at the sidecar."""
    began, ended = turn.answer_began_at, turn.answered_at or turn.cancelled_at
    if began is None or ended is None or visit.first_at is None:
        return skip("buffered", "whether the answer was held back cannot be told: it did not come to its end")
    made_s, lag_s = ended - began, visit.first_at - began
    if made_s < STREAMS_S:
        mend = "ask for a longer answer, with --body; is the backend asked to stream?"
        return skip("buffered", f"the backend answered within {time_text(made_s)}: too fast to see buffering", mend)
    if lag_s > max(LAG_MAX_S, LAG_SHARE_MAX * made_s):
        what = f"the answer was held back: it began {time_text(lag_s)} after the sidecar had its first bytes"
        return fail("buffered", what, *mends_of(Trouble.BUFFERED, front))
    return ok("buffered", f"it came as it was made: its first bytes took {time_text(max(0.0, lag_s))} from the sidecar")


def delivered(turn: Turn) -> Finding:
    """Judge whether the sidecar knows that the answer arrived."""
    if turn.state in _DELIVERED:
        return ok("delivered", "the sidecar saw it delivered")
    what = f"the client read it all, but the turn is {turn.state}{f' ({turn.cause})' if turn.cause else ''}"
    return fail("delivered", what, "name what ends an answer in chat.terminal", "see the turn in the sidecar's log")


def kept_open(after: Visit, front: str | None) -> Finding:
    """Judge whether the connection was left open, so that the next chat need not connect anew."""
    if after.reused is None:
        return skip("keep_alive", "whether connections are kept open cannot be told")
    if after.reused:
        return ok("keep_alive", "the connection was kept open, and used again")
    return warn("keep_alive", "the connection was closed after the answer", *mends_of(Trouble.CLOSES, front))


def uncompressed(visit: Visit, front: str | None) -> Finding | None:
    """Judge a coding of the answer that nobody asked for; None where there is none."""
    coding = visit.headers.get("Content-Encoding", "identity")
    if coding == "identity":
        return None
    what = f"the answer is compressed ({coding}) though the client did not ask for it"
    return warn("compressed", what, *mends_of(Trouble.COMPRESSED, front))


def accel(visit: Visit) -> Finding | None:
    """Note that the answer asks proxies not to buffer it; None where it does not, or a proxy has heeded it."""
    asked = visit.headers.get("X-Accel-Buffering")
    return None if asked is None else ok("x_accel_buffering", f"the answer says X-Accel-Buffering: {asked}")


def _hints(visit: Visit) -> Iterator[str]:
    """Give sources that would find something like an id in this answer."""
    for name in visit.headers:
        if _ID_LIKE.search(name) and name.lower() not in _COMMON_FIELDS:
            yield f"response.header:{name}"
    found: dict[str, None] = {}
    for line in bytes(visit.body).splitlines():
        try:
            document = json.loads(line.removeprefix(b"data:").strip())
        except ValueError:
            continue
        found |= dict.fromkeys(_pointers(document, ""))
    yield from (f"stream.json:{pointer}" for pointer in found)


def _pointers(value: object, above: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            pointer = f"{above}/{key.replace('~', '~0').replace('/', '~1')}"
            if isinstance(inner, str | int) and _ID_LIKE.search(key):
                yield pointer
            yield from _pointers(inner, pointer)


def _quoted(body: bytes | bytearray) -> str:
    """Give the beginning of a refusal's text, as far as it is text of one line."""
    line = bytes(body[:200]).decode("utf-8", "replace").strip().partition("\n")[0]
    text = "".join(char for char in line if char.isprintable())
    return f": {text[:80]}" if text and not text.startswith("<") else ""
