"""What is made of what was seen: each check at its edges, without a socket."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from sidecar.config import Chat
from sidecar.doctor.findings import Grade
from sidecar.doctor.judge import admin, answer, leaving, way
from sidecar.doctor.judge.admin import Called, Removal
from sidecar.doctor.reach import Reach
from sidecar.doctor.visit import Deed, Visit
from sidecar.engine.history import Happening, HistoryEntry
from sidecar.engine.ports import CallOutcome, Verdict
from sidecar.turn.state import Cause, State, StepKind, StepState, Turn
from tests.unit.doctor.conftest import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeVisit = Callable[..., Visit]
    MakeTurn = Callable[..., Turn]

DONE = Called(CallOutcome(verdict=Verdict.DONE, status=204), NOW + 1, 0.01)
GONE = Called(CallOutcome(verdict=Verdict.GONE, status=404), NOW + 1, 0.01)


def failing(error: str, status: int | None = None) -> Called:
    return Called(CallOutcome(verdict=Verdict.FAILED, status=status, error=error), NOW + 1, 0.01)


def removal(**changes: object) -> Removal:
    facts = {"seen_before": True, "first": DONE, "seen_after": False, "second": GONE, **changes}
    return Removal(**facts)  # type: ignore[arg-type]


# -- the way there -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reached", "grade", "told"),
    [
        (Reach(), Grade.OK, "without TLS"),
        (Reach(tls="TLSv1.3", days_left=60), Grade.OK, "valid for 60 days"),
        (Reach(tls="TLSv1.3", days_left=3.2), Grade.WARN, "valid for 3 days"),
        (Reach(distrust="its certificate was refused (x)"), Grade.FAIL, "refused (x)"),
        (Reach(error="Connection refused"), Grade.FAIL, "cannot be reached: Connection refused"),
    ],
)
def test_the_public_url(reached: Reach, grade: Grade, told: str) -> None:
    finding = way.public("https://chat.example.org", reached)
    assert finding.grade is grade
    assert told in finding.what
    assert bool(finding.mends) == (grade is not Grade.OK)


def test_clocks(make_visit: MakeVisit) -> None:
    def clock(created_at: float | None, **headers: str) -> Grade:
        return way.clock(make_visit(headers=headers), created_at).grade

    assert clock(NOW + 0.01) is Grade.SKIP
    assert clock(NOW + 0.01, Date=formatdate(NOW, usegmt=True)) is Grade.OK
    assert clock(NOW + 0.01, Date=formatdate(NOW + 60, usegmt=True)) is Grade.WARN
    assert clock(NOW + 0.01, Date="yesterday") is Grade.SKIP
    assert clock(NOW - 30) is Grade.FAIL
    assert clock(NOW + 30) is Grade.FAIL


# -- an answer read to its end -----------------------------------------------------------------------------------------


def test_no_answer_a_refusal_and_an_endless_one(make_visit: MakeVisit) -> None:
    silent = answer.success(make_visit(status=None, error="no answer within the time given"))
    assert (silent.grade, "no answer within" in silent.what) == (Grade.FAIL, True)
    refused = answer.success(make_visit(status=422, body=bytearray(b'{"error": "inputs"}\n')))
    assert refused.what == 'the chat was answered 422: {"error": "inputs"}'
    assert refused.mends == ("give a body that the backend takes, with --body",)
    assert answer.success(make_visit(status=502, body=bytearray(b"<html>"))).what == "the chat was answered 502"
    assert answer.success(make_visit(ended_at=None)).grade is Grade.WARN
    assert answer.success(make_visit(ended_at=None, error="the connection broke off")).grade is Grade.FAIL
    assert answer.success(make_visit()).what == "answered 200, in 9 pieces over 2.0 s"


def test_a_turn_that_is_not_there_or_has_another_id(make_visit: MakeVisit, make_turn: MakeTurn) -> None:
    assert "journal.path" in answer.tracked(make_visit(), None).mends[0]
    other = answer.tracked(make_visit(), make_turn({"request_id": "req_9"}))
    assert other.grade is Grade.FAIL
    assert "nginx: proxy_set_header X-Request-Id $http_x_request_id;" in other.mends
    assert answer.tracked(make_visit(), make_turn()).grade is Grade.OK


@pytest.mark.parametrize(
    ("first_s", "made_s", "grade"),
    [
        (0.12, 2.0, Grade.OK),
        (0.65, 2.0, Grade.OK),
        (1.9, 2.0, Grade.FAIL),
        (0.75, 2.0, Grade.FAIL),
        (1.9, 9.0, Grade.OK),
        (0.6, 0.6, Grade.SKIP),
    ],
)
def test_an_answer_that_is_held_back(
    first_s: float, made_s: float, grade: Grade, make_visit: MakeVisit, make_turn: MakeTurn
) -> None:
    visit, turn = make_visit(first_at=NOW + first_s), make_turn(answered_at=NOW + made_s)
    assert answer.in_time(visit, turn, None).grade is grade


def test_the_mend_is_the_recognised_fronts_alone(make_visit: MakeVisit, make_turn: MakeTurn) -> None:
    held = make_visit(first_at=NOW + 1.9)
    assert len(answer.in_time(held, make_turn(), None).mends) > 3
    [mend] = answer.in_time(held, make_turn(), "nginx").mends
    assert mend.startswith("nginx: proxy_buffering off;")


def test_ids_that_are_not_captured_are_looked_for(make_visit: MakeVisit, make_turn: MakeTurn) -> None:
    body = b'data: {"chat": {"threadId": "x1", "valid": true}, "task_id": 7}\n\ndata: [DONE]\n\n{"threadId": "x1"}\n'
    visit = make_visit(headers={"X-Session-Id": "s", "Server": "x"}, body=bytearray(body))
    finding = answer.captured(visit, make_turn({"request_id": "doctor_1"}))
    assert finding.grade is Grade.FAIL
    [mend] = finding.mends
    assert mend.endswith(
        "ids: response.header:X-Session-Id, stream.json:/chat/threadId, stream.json:/task_id, stream.json:/threadId"
    )
    assert answer.captured(visit, make_turn()).grade is Grade.OK


def test_headers_that_come_back_or_do_not(make_visit: MakeVisit, make_turn: MakeTurn) -> None:
    assert answer.request_id_back(make_visit(), None).grade is Grade.OK
    assert answer.request_id_back(make_visit(headers={"X-Request-Id": "other"}), None).grade is Grade.WARN
    chat, told_by_header = Chat(), Chat.model_validate({"capture": {"conversation_id": ["response.header:X-C"]}})
    shown = make_visit(headers={"X-Conversation-Id": "c1"})
    assert answer.conversation_id_back(shown, make_turn(), chat, None).grade is Grade.OK
    assert answer.conversation_id_back(make_visit(), make_turn(), chat, None).grade is Grade.SKIP
    assert answer.conversation_id_back(make_visit(), make_turn(), told_by_header, None).grade is Grade.WARN
    assert answer.uncompressed(make_visit(), None) is None
    coded = answer.uncompressed(make_visit(headers={"Content-Encoding": "gzip"}), "Caddy")
    assert coded is not None
    assert coded.mends == ("Caddy: no encode for this route",)
    assert answer.accel(make_visit()) is None
    assert answer.accel(make_visit(headers={"X-Accel-Buffering": "no"})) is not None


def test_delivery_and_kept_connections(make_visit: MakeVisit, make_turn: MakeTurn) -> None:
    assert answer.delivered(make_turn()).grade is Grade.OK
    assert answer.delivered(make_turn(state=State.CONFIRMING)).grade is Grade.OK
    stalled = answer.delivered(make_turn(state=State.CANCELLED, cause=Cause.STALLED))
    assert (stalled.grade, "cancelled (stalled)" in stalled.what) == (Grade.FAIL, True)
    grades = [answer.kept_open(make_visit(reused=reused), None).grade for reused in (True, False, None)]
    assert grades == [Grade.OK, Grade.WARN, Grade.SKIP]


# -- leaving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "grade", "told"),
    [
        ({"cancelled_at": NOW + 1.01, "cause": Cause.CLOSED}, Grade.OK, "heard of it after 10 ms, as closed"),
        ({"cancelled_at": NOW + 5, "cause": Cause.CLOSED}, Grade.WARN, "after 4.0 s"),
        ({"cancelled_at": NOW + 31, "cause": Cause.STALLED}, Grade.FAIL, "no word from the client"),
        ({"cancelled_at": NOW + 2, "cause": Cause.CLOSED, "answer_began_at": NOW + 1.9}, Grade.FAIL, "only once"),
        ({"answered_at": NOW + 1.1}, Grade.SKIP, "over before the client could leave"),
        ({"answered_at": NOW + 3}, Grade.FAIL, "the front read the answer to its end"),
        ({"state": State.OPEN, "answered_at": None}, Grade.FAIL, "did not hear of it within 20.0 s"),
        ({"state": State.REFUSED}, Grade.SKIP, "refused"),
    ],
)
def test_a_client_that_leaves(
    facts: dict[str, object], grade: Grade, told: str, make_visit: MakeVisit, make_turn: MakeTurn
) -> None:
    visit = make_visit(Deed.CLOSE, left_at=NOW + 1)
    finding = leaving.left(visit, make_turn(**facts), front=None, cancel_path="/c", waited_s=20)
    assert (finding.check, finding.grade) == ("close_mid_answer", grade)
    assert told in finding.what


def test_a_client_that_leaves_and_is_unknown_or_refused(make_visit: MakeVisit) -> None:
    def left(**changes: object) -> str:
        visit = make_visit(Deed.HURRY, **changes)
        return leaving.left(visit, None, front=None, cancel_path="/c", waited_s=20).what

    assert "has no turn for this chat" in left(status=None, error="the connection broke off")
    assert left(status=429).startswith("the chat was answered 429")


def test_clients_that_are_put_up_with() -> None:
    def told(closed: object) -> str | None:
        finding = leaving.not_acted_upon(Chat.model_validate({"on": {"closed": closed}}))
        return finding.what if finding else None

    assert told("cancel") is None
    assert told("keep") is None
    assert "complete" in (told("complete") or "")
    assert "waits for 3 s" in (told({"policy": "cancel", "grace_s": 3}) or "")


def test_a_cancel_that_is_said(make_visit: MakeVisit, make_turn: MakeTurn) -> None:
    said = make_visit(Deed.CANCEL, cancel_status=200, cancel_said="cancelled")
    requested = make_turn(state=State.CANCELLING, cancelled_at=NOW + 1, cause=Cause.REQUESTED)
    assert leaving.said(said, requested, "/c").grade is Grade.OK
    assert leaving.said(said, make_turn(), "/c").grade is Grade.SKIP
    assert leaving.said(said, None, "/c").grade is Grade.FAIL
    assert leaving.said(make_visit(Deed.CANCEL, cancel_status=404), requested, "/c").grade is Grade.FAIL
    assert leaving.said(make_visit(Deed.CANCEL), requested, "/c").grade is Grade.SKIP


# -- the admin API -----------------------------------------------------------------------------------------------------


def test_a_cancel_call(make_visit: MakeVisit) -> None:
    cut = make_visit(Deed.WATCH, ended_at=NOW + 1.2)
    assert admin.cancel(cut, DONE).what.endswith("the answer ended 200 ms later")
    assert admin.cancel(cut, GONE).grade is Grade.FAIL
    assert admin.cancel(make_visit(Deed.WATCH, ended_at=None), DONE).grade is Grade.WARN
    assert admin.cancel(cut, None).grade is Grade.SKIP
    refused = admin.cancel(cut, failing("answered 401", 401))
    assert refused.mends == ("give the admin API's credentials in admin.headers",)


@pytest.mark.parametrize(
    ("seen", "grade", "told"),
    [
        (removal(), Grade.OK, "made again, 404, and seen gone"),
        (removal(seen_before=None, seen_after=None), Grade.OK, "made again, 404"),
        (removal(first=GONE, seen_before=None, seen_after=None), Grade.FAIL, "already gone"),
        (removal(first=GONE, seen_before=False), Grade.OK, "404"),
        (removal(seen_after=True), Grade.FAIL, "still shows"),
        (removal(second=failing("answered 409", 409)), Grade.FAIL, "made again, it failed (answered 409)"),
        (removal(first=failing("no answer within 5 s")), Grade.FAIL, "no answer within 5 s"),
    ],
)
def test_a_rollback_call(seen: Removal, grade: Grade, told: str) -> None:
    finding = admin.rollback(seen)
    assert finding.grade is grade
    assert told in finding.what


def test_a_verify_call() -> None:
    assert admin.verify(removal()).grade is Grade.OK
    assert admin.verify(removal(seen_before=None)).grade is Grade.FAIL
    assert admin.verify(removal(seen_before=False)).grade is Grade.FAIL
    assert admin.verify(removal(seen_after=True)).grade is Grade.SKIP


def test_what_the_sidecar_owed(make_turn: MakeTurn) -> None:
    def steps(**facts: object) -> str:
        turn = make_turn(cancelled_at=NOW + 1, cause=Cause.CLOSED, **facts)
        [finding] = admin.steps([(turn, entries)])
        return f"{finding.grade}: {finding.what}"

    entries: list[HistoryEntry] = []
    made = {StepKind.CANCEL: StepState.DELIVERED}
    assert steps(state=State.CANCELLED, steps=made) == (
        "ok: 1 cancelled turn: the sidecar made the calls that were owed (cancel)"
    )
    assert steps(state=State.CANCELLED).startswith("ok: 1 cancelled turn: no call was owed")
    assert steps(state=State.UNRESOLVED, captured={"request_id": "r"}).startswith(
        "fail: a cancelled turn is unresolved: conversation_id was not told"
    )
    pending = {StepKind.CANCEL: StepState.PENDING}
    assert steps(state=State.CANCELLING, steps=pending) == "warn: the sidecar's cancel call is still under way"
    looking = {StepKind.ROLLBACK: StepState.DELIVERED, StepKind.VERIFY: StepState.PENDING}
    assert steps(state=State.CANCELLING, steps=looking).startswith("ok: ")
    entries.append(HistoryEntry(at=NOW, what=Happening.ATTEMPT_FAILED, step=StepKind.CANCEL, detail="answered 500"))
    assert steps(state=State.CANCELLING, steps=pending) == (
        "fail: the sidecar's cancel call fails (answered 500); it stays owed"
    )
    assert admin.steps([])[0].grade is Grade.SKIP


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        ("answered 403", "admin.headers"),
        ("answered 405", "admin.rollback.path"),
        ("answered 422", "admin.rollback.json"),
        ("answered 503", "own log"),
        ("answered 302", "admin.url"),
        ("no answer within 5 s", "admin.timeout_s"),
        ("cannot connect: Connection refused", "admin.url"),
        ("broke off mid-answer", "mend admin.rollback"),
    ],
)
def test_each_failure_has_its_mend(error: str, mend: str) -> None:
    [told] = admin.rollback(removal(first=failing(error))).mends
    assert mend in told
