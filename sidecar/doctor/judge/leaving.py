"""A client that left, or said so: whether the sidecar heard of it, how soon, and as what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.doctor.findings import Finding, fail, ok, skip, time_text, warn
from sidecar.doctor.fronts import Trouble, mends_of
from sidecar.doctor.judge.answer import success
from sidecar.doctor.visit import Deed
from sidecar.turn.state import Cause, Policy, State

if TYPE_CHECKING:
    from sidecar.config import Chat
    from sidecar.doctor.visit import Visit
    from sidecar.turn.state import Turn

LATE_S: Final = 2.0
TOO_FAST_S: Final = 0.3
"""An answer that was whole so soon after its client had left was as good as over."""
NOTICED_S: Final = 0.1
"""A front that passes a leaving on has done so by then."""
LEFT: Final = frozenset({Cause.CLOSED, Cause.RESET, Cause.UPLOAD_CUT})
"""What the sidecar calls a leaving that it was told of, and did not have to guess from a time-out."""
CHECKS: Final = {
    Deed.CLOSE: "close_mid_answer",
    Deed.RESET: "reset_mid_answer",
    Deed.HURRY: "close_before_first_byte",
}
_WHEN: Final = {
    Deed.CLOSE: "closed mid-answer (FIN)",
    Deed.RESET: "reset mid-answer (RST)",
    Deed.HURRY: "closed before the first byte",
}


def left(  # noqa: PLR0911  (a case each)
    visit: Visit, turn: Turn | None, *, front: str | None, cancel_path: str, waited_s: float
) -> Finding:
    """Judge what the sidecar made of a client that left without a word."""
    check, when = CHECKS[visit.deed], _WHEN[visit.deed]
    if visit.status is not None and not visit.answered:
        return success(visit)
    if turn is None:
        return fail(check, f"{when}: the sidecar has no turn for this chat", f"see the front's log{_or(visit)}")
    if turn.state is State.REFUSED:
        return skip(check, f"{when}: the backend refused the chat", "ask again, with a --body that it takes")
    assert visit.left_at is not None, "every client that leaves notes when"
    if turn.cancelled_at is not None:
        return _heard(check, when, visit.left_at, turn, front)
    if turn.answered_at is not None and turn.answered_at <= visit.left_at + TOO_FAST_S:
        mend = "ask for a longer answer, with --body"
        return skip(check, f"{when}: the answer was over before the client could leave", mend)
    mends = (*mends_of(Trouble.UNHEARD, front), _say_so(cancel_path))
    if turn.answered_at is not None:
        return fail(check, f"{when}: the front read the answer to its end, as if the client were there", *mends)
    return fail(check, f"{when}: the sidecar did not hear of it within {time_text(waited_s)}", *mends)


def _heard(check: str, when: str, left_at: float, turn: Turn, front: str | None) -> Finding:
    assert turn.cancelled_at is not None, "it was heard of"
    delay_s = max(0.0, turn.cancelled_at - left_at)
    what = f"{when}: the sidecar heard of it after {time_text(delay_s)}, as {turn.cause}"
    if turn.cause not in LEFT:
        return fail(check, f"{what}, which is no word from the client", *mends_of(Trouble.UNHEARD, front))
    if _at_first_write(turn, left_at):
        what = f"{when}: the sidecar heard of it only once the backend had begun to answer, {time_text(delay_s)} later"
        return fail(check, what, *mends_of(Trouble.UNHEARD, front))
    if delay_s > LATE_S:
        return warn(check, what, *mends_of(Trouble.UNHEARD, front))
    return ok(check, what)


def _at_first_write(turn: Turn, left_at: float) -> bool:
    """Say whether a front noticed only when it had something to pass on: while a backend thinks, nobody stops it."""
    return turn.answer_began_at is not None and turn.answer_began_at > left_at + NOTICED_S


def not_acted_upon(chat: Chat) -> Finding | None:
    """Say that the configuration puts up with clients that leave, so that it cannot be seen; None where it does not."""
    reaction = chat.reaction(Cause.CLOSED)
    if reaction.policy is Policy.COMPLETE:
        return skip("leaving", "chat.on.closed is 'complete': a client that leaves changes nothing")
    if reaction.grace_s > 0:
        return skip("leaving", f"chat.on.closed waits for {reaction.grace_s:g} s before anything is done")
    return None


def said(visit: Visit, turn: Turn | None, path: str) -> Finding:
    """Judge a cancel that was said at the cancel endpoint."""
    check, mend = "cancel_endpoint", f"have the front pass POST {path} on to the sidecar, with the client's headers"
    if visit.cancel_status is None:
        return skip(check, f"no cancel was said: {visit.error or 'the answer was over before'}")
    if visit.cancel_said is None:
        return fail(check, f"POST {path} was answered {visit.cancel_status}, but not by the sidecar", mend)
    what = f"POST {path} was answered {visit.cancel_status} {visit.cancel_said}"
    if turn is not None and turn.cause is Cause.REQUESTED:
        return ok(check, f"{what}, and the turn was cancelled")
    if turn is not None and turn.answered_at is not None and turn.cancelled_at is None:
        return skip(check, f"{what}: the answer was over before", "ask for a longer answer, with --body")
    return fail(check, f"{what}, but the turn is {turn.state if turn else 'unknown'}", mend)


def _say_so(cancel_path: str) -> str:
    return f"whatever stands in front: let clients say so, too, by POST {cancel_path}"


def _or(visit: Visit) -> str:
    return f" ({visit.error})" if visit.error else ""
