"""The admin calls: made by the examination itself where the outcome is certain, and those that the sidecar made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.doctor.findings import Finding, fail, ok, skip, time_text, warn
from sidecar.engine.history import Happening
from sidecar.engine.ports import Verdict
from sidecar.turn.state import State, StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.doctor.visit import Visit
    from sidecar.engine.history import HistoryEntry
    from sidecar.engine.ports import CallOutcome
    from sidecar.turn.state import Turn

SOON_S: Final = 2.0
_LOOKS_ON: Final = frozenset({StepKind.VERIFY})


@dataclass(frozen=True, slots=True)
class Called:
    """A call that was made: what came of it, when it was answered, and how long that took."""

    outcome: CallOutcome
    at: float
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A conversation that was there for certain, removed twice, and looked for (None: cannot be, or was not)."""

    seen_before: bool | None
    first: Called
    seen_after: bool | None
    second: Called


def cancel(visit: Visit, called: Called | None) -> Finding:
    """Judge admin.cancel, made while the answer was under way."""
    if called is None:
        return skip("admin_cancel", "admin.cancel was not tried: an id that it needs was not told in time")
    if (broken := _broken("admin_cancel", StepKind.CANCEL, called.outcome)) is not None:
        return broken
    answered = f"admin.cancel was answered {called.outcome.status} in {time_text(called.took_s)}"
    if called.outcome.verdict is Verdict.GONE:
        mend = "mend its path; or take the status out of admin.cancel.gone, if it means something else"
        return fail("admin_cancel", f"{answered}: unknown, though the answer was under way", mend)
    if visit.ended_at is None and visit.error is None:
        what = f"{answered}, but the answer went on"
        return warn("admin_cancel", what, "see what the call does in the backend; closing the stream may be enough")
    ended_at = visit.ended_at or visit.last_at or called.at
    return ok("admin_cancel", f"{answered}; the answer ended {time_text(max(0.0, ended_at - called.at))} later")


def rollback(removal: Removal) -> Finding:
    """Judge admin.rollback, made for a conversation that was there."""
    check, outcome = "admin_rollback", removal.first.outcome
    if (broken := _broken(check, StepKind.ROLLBACK, outcome)) is not None:
        return broken
    answered = f"admin.rollback was answered {outcome.status} in {time_text(removal.first.took_s)}"
    if outcome.verdict is Verdict.GONE and removal.seen_before is not False:
        mends = (
            "mend its path, or the source of the id that is in it (chat.capture)",
            "or take the status out of admin.rollback.gone, if it means something else",
        )
        return fail(check, f"{answered}: already gone, though the conversation was there", *mends)
    if removal.seen_after:
        mend = "see what the call does in the backend: it says done, but removes nothing (at once)"
        return fail(check, f"{answered}, but admin.verify still shows the conversation", mend)
    again = removal.second.outcome
    if again.verdict is Verdict.FAILED:
        mend = f"add the status to admin.rollback.gone: a call may be made twice{_status_hint(again)}"
        return fail(check, f"{answered}; made again, it failed ({again.error})", mend)
    return ok(
        check, f"{answered}; made again, {again.status}{', and seen gone' if removal.seen_after is False else ''}"
    )


def verify(removal: Removal) -> Finding:
    """Judge admin.verify, asked for a conversation that was there, and then was not."""
    check = "admin_verify"
    if removal.seen_before is None:
        mend = "mend its path, its headers, or the statuses in its done and gone"
        return fail(check, "admin.verify did not tell whether the conversation is there", mend)
    if not removal.seen_before:
        return fail(check, "admin.verify says that the conversation is not there, but it was", "mend its path")
    if removal.seen_after:
        return skip(check, "admin.verify shows the conversation also after its rollback")
    return ok(check, "admin.verify shows the conversation, and after its rollback shows it no more")


def confirm(turn: Turn, entries: Sequence[HistoryEntry]) -> Finding:
    """Judge admin.confirm, made by the sidecar for an answer that was delivered."""
    if turn.steps.get(StepKind.CONFIRM) is StepState.DELIVERED:
        return ok("admin_confirm", "admin.confirm was made, and answered as done")
    failing = _trouble(turn, entries)
    return failing or skip("admin_confirm", "admin.confirm was not made: the turn began no conversation")


def steps(turns: Sequence[tuple[Turn, Sequence[HistoryEntry]]]) -> tuple[Finding, ...]:
    """Judge what became of the turns that were cancelled: the calls that the sidecar made for them."""
    troubled = [finding for turn, entries in turns if (finding := _trouble(turn, entries)) is not None]
    if troubled:
        return tuple({finding.what: finding for finding in troubled}.values())
    if not turns:
        return (skip("owed", "no turn was cancelled, so no call was owed"),)
    number = f"{len(turns)} cancelled turn{'' if len(turns) == 1 else 's'}"
    made = sorted({kind for turn, _ in turns for kind in turn.steps if turn.steps[kind] is StepState.DELIVERED})
    if not made:
        return (ok("owed", f"{number}: no call was owed, for none is configured"),)
    return (ok("owed", f"{number}: the sidecar made the calls that were owed ({', '.join(made)})"),)


def _trouble(turn: Turn, entries: Sequence[HistoryEntry]) -> Finding | None:
    failed = [entry for entry in entries if entry.what in {Happening.ATTEMPT_FAILED, Happening.STEP_DEAD}]
    undelivered = [entry for entry in failed if entry.step and turn.steps.get(entry.step) is not StepState.DELIVERED]
    if undelivered:
        last = undelivered[-1]
        what = f"the sidecar's {last.step} call fails ({last.detail}); it stays owed"
        return fail("owed", what, _mend(str(last.step), last.detail), "then: sidecar outbox list, outbox retry --all")
    if turn.state is State.UNRESOLVED:
        missing = sorted(frozenset().union(*turn.plan.needs.values()) - turn.captured.keys())
        what = f"a cancelled turn is unresolved: {', '.join(missing) or 'an id'} was not told before its client left"
        mend = "have the backend tell it sooner; or in its answer to admin.cancel, captured by cancel.json:/POINTER"
        return fail("owed", what, mend)
    pending = [kind for kind, state in turn.steps.items() if state is StepState.PENDING and kind not in _LOOKS_ON]
    if turn.state is State.CANCELLING and pending:
        return warn("owed", f"the sidecar's {pending[0]} call is still under way", "see sidecar outbox list")
    return None


def _broken(check: str, kind: StepKind, outcome: CallOutcome) -> Finding | None:
    if outcome.verdict is not Verdict.FAILED:
        return None
    return fail(check, f"admin.{kind} fails: {outcome.error}", _mend(str(kind), outcome.error))


def _mend(kind: str, error: str | None) -> str:  # noqa: PLR0911  (a case each)
    """Say what to change about a failing call, by how it failed."""
    match (error or "").removeprefix("answered "):
        case "401" | "403":
            return "give the admin API's credentials in admin.headers"
        case "404" | "405" | "410":
            return f"mend admin.{kind}.path or its method; or add the status to its gone, if it means just that"
        case "400" | "415" | "422":
            return f"mend admin.{kind}.json and admin.{kind}.headers"
        case "500" | "502" | "503" | "504":
            return "see the admin API's own log"
        case "301" | "302" | "307" | "308":
            return "redirects are not followed: mend admin.url"
        case text if text.startswith("no answer"):
            return "see why the admin API takes so long, or raise admin.timeout_s"
        case text if text.startswith("cannot connect"):
            return "mend admin.url, or start the admin API"
        case _:
            return f"mend admin.{kind}"


def _status_hint(outcome: CallOutcome) -> str:
    return f" (here: {outcome.status})" if outcome.status else ""
