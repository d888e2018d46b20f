"""The calls to the upstream's admin API: one call, one outcome, never an exception.

An answer's status decides, by the sets that the configuration names; its body matters only where the cancel call's
answer is a source of captured values. Nothing is followed, remembered or silently repeated: a redirect is a failure,
cookies are dropped, proxies of the environment are not used, and the outbox alone tries again; but for what a kept
connection provably did not carry.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sidecar.capture.response import capture_cancel_answer
from sidecar.capture.sources import Place, Source
from sidecar.capture.template import render_header, render_json, render_path
from sidecar.config import Upstream
from sidecar.engine.ports import CallOutcome, Verdict
from sidecar.errors import BugError, PeerError, UpstreamBusyError, UpstreamTimeoutError, UpstreamUnreachableError
from sidecar.turn.state import NOTHING, StepKind
from sidecar.upstream.asked import Gathered, Question, ask
from sidecar.upstream.pool import UpstreamPool
from sidecar.upstream.retry_after import retry_after_s
from sidecar.upstream.unreachable import why_unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.config import Admin, Call, ClientTls
    from sidecar.turn.state import Turn

ANSWER_BYTES_MAX: Final = 65_536
KEEPALIVE_S: Final = 30.0

_FIELDS: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "cancel-sidecar"}
_OURS: Final = frozenset({"content-length", "transfer-encoding", "connection"})
"""Fields that say how the message itself is to be read."""
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
"""Methods of which nobody expects a body, so that none need not be said (RFC 9110, 8.6)."""


class AdminClient:
    """The admin API at `base_url`. `sources_of` gives a route's capture sources by the route's name."""

    def __init__(
        self, admin: Admin, base_url: str, sources_of: Callable[[str], Mapping[str, tuple[Source, ...]]], tls: ClientTls
    ) -> None:
        self._admin = admin
        self._sources_of = sources_of
        self._settings = _settings(admin, base_url, tls)
        self._base_path = "" if base_url.startswith("unix:") else urlsplit(base_url).path.rstrip("/")
        self._pool: UpstreamPool | None = None

    async def start(self) -> None:
        """Make ready for calls. Harmless when done twice. Raises ConfigError for TLS."""
        if self._pool is None:
            self._pool = UpstreamPool(self._settings, section="admin.tls")

    async def close(self) -> None:
        """Close the kept connections. Harmless when done twice."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def call(self, kind: StepKind, turn: Turn, *, idempotency_key: str) -> CallOutcome:
        """Make a step's call once. Never raises for what the peer does: a failure is an outcome."""
        configured = self._admin.calls.get(kind)
        if configured is None:
            return _failed(f"admin.{kind} is not configured any more")
        values = {**turn.captured, "turn_id": turn.id, "principal": turn.principal}
        extra = {"Idempotency-Key": idempotency_key, "X-Request-Id": turn.request_id}
        if turn.traceparent is not None:
            extra["traceparent"] = turn.traceparent
        sources = _awaited(self._sources_of(turn.route), turn.captured) if kind is StepKind.CANCEL else {}
        return await self._attempt(configured, values, extra, sources)

    async def shows(self, captured: Mapping[str, str], *, traceparent: str | None = None) -> bool | None:
        """Ask (`admin.verify`) whether the upstream shows the conversation; None where it cannot be told."""
        verify = self._admin.verify
        if not verify or not verify.needs <= captured.keys():
            return None
        told = {"X-Request-Id": captured.get("request_id"), "traceparent": traceparent}
        extra = {name: value for name, value in told.items() if value is not None}
        outcome = await self._attempt(verify, captured, extra, {})
        return {Verdict.DONE: True, Verdict.GONE: False}.get(outcome.verdict)

    async def _attempt(
        self,
        call: Call,
        values: Mapping[str, str],
        extra: Mapping[str, str],
        sources: Mapping[str, tuple[Source, ...]],
    ) -> CallOutcome:
        pool, admin = self._pool, self._admin
        if pool is None:
            raise BugError("an admin call was made before the client was started")
        missing = call.needs - values.keys()
        if missing:
            return _failed(f"unknown: {', '.join(sorted(missing))}")
        try:
            question = self._question(pool.host.decode(), call, values, extra)
            answer = await ask(pool, question, timeout_s=admin.timeout_s, bytes_max=ANSWER_BYTES_MAX)
        except TimeoutError:
            return self._late()
        except (PeerError, ValueError) as error:
            return self._unmade(error)
        return self._outcome(call, answer, sources, values)

    def _question(self, host: str, call: Call, values: Mapping[str, str], extra: Mapping[str, str]) -> Question:
        """Lay the call's fields over the API's, and both over our own."""
        filled = {name: render_header(value, values) for name, value in call.headers.items()}
        laid = ({"Host": host}, _FIELDS, extra, self._admin.headers, filled)
        fields = {name.lower(): (name, value) for one in laid for name, value in one.items()}
        body = b""
        if call.json_ is not None:
            body = json.dumps(render_json(call.json_, values)).encode()
            fields.setdefault("content-type", ("Content-Type", "application/json"))
        for name in _OURS:
            fields.pop(name, None)
        if body or call.method not in _BODILESS:
            fields["content-length"] = ("Content-Length", str(len(body)))
        target = self._base_path + render_path(call.path, values)
        return Question.of(call.method, target, list(fields.values()), body)

    def _outcome(
        self, call: Call, answer: Gathered, sources: Mapping[str, tuple[Source, ...]], known: Mapping[str, str]
    ) -> CallOutcome:
        """Judge an answer. Where it has to tell ids, it counts only when it is whole, or too long to be read."""
        head = answer.head
        if head is None:
            return self._late() if answer.error is None else self._unmade(answer.error)
        if head.status in call.done:
            whole = answer.whole or len(answer.body) > ANSWER_BYTES_MAX
            if sources and not whole:
                return self._late() if answer.error is None else self._unmade(answer.error)
            body = bytes(answer.body[:ANSWER_BYTES_MAX])
            captured = capture_cancel_answer(sources, body, known) if sources else NOTHING
            return CallOutcome(verdict=Verdict.DONE, status=head.status, captured=captured)
        if head.status in call.gone:
            return CallOutcome(verdict=Verdict.GONE, status=head.status)
        told, date = (_text(head.get(name)) for name in (b"retry-after", b"date"))
        wait_s = retry_after_s(told, date=date, now=time.time())
        error = f"answered {head.status}"
        return CallOutcome(verdict=Verdict.FAILED, status=head.status, error=error, retry_after_s=wait_s)

    def _late(self) -> CallOutcome:
        return _failed(f"no answer within {self._admin.timeout_s:g} s")

    def _unmade(self, error: Exception) -> CallOutcome:
        """Say in a few words what went wrong; neither URL nor header may be in them."""
        beneath = None if isinstance(error.__context__, TimeoutError) else error.__context__
        match error:
            case UpstreamTimeoutError():
                return self._late()
            case UpstreamUnreachableError() | UpstreamBusyError() if isinstance(beneath, OSError | UnicodeError):
                return _failed(f"cannot connect: {why_unreachable(beneath)}")
            case PeerError():
                malformed = str(error).startswith("malformed")
                return _failed("answered no proper HTTP" if malformed else str(error))
            case _:
                return _failed(f"cannot be made: {type(error).__name__}")


def _settings(admin: Admin, base_url: str, tls: ClientTls) -> Upstream:
    """Give what the pool has to know. Places are the dispatcher's matter, but for those who ask in between."""
    unix = base_url.startswith("unix:")
    parts = urlsplit(base_url)
    return Upstream(
        url=base_url if unix else f"{parts.scheme}://{parts.netloc}",
        tls=tls,
        connect_timeout_s=admin.timeout_s,
        queue_timeout_s=admin.timeout_s,
        response_timeout_s=admin.timeout_s,
        idle_timeout_s=admin.timeout_s,
        connections_max=admin.concurrency_max,
        idle_max=admin.concurrency_max,
        idle_expiry_s=KEEPALIVE_S,
    )


def _awaited(sources: Mapping[str, tuple[Source, ...]], known: Mapping[str, str]) -> dict[str, tuple[Source, ...]]:
    """Leave the sources of what only the cancel call's answer can still tell."""
    return {
        name: listed
        for name, listed in sources.items()
        if name not in known and any(source.place is Place.CANCEL_JSON for source in listed)
    }


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _failed(reason: str) -> CallOutcome:
    return CallOutcome(verdict=Verdict.FAILED, error=reason)
