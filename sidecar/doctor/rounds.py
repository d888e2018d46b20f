"""The examination, round by round: a few chats through whatever stands in front, each watched from both ends.

    client --asks, leaves--> front --> sidecar --> backend
      |                                   |
      visit                            journal     ==> judge

The client's side is in a Visit, the sidecar's in its journal, both by this machine's clock; `judge` compares them.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sidecar.app import operator_journal
from sidecar.config import InForce, TcpAddress
from sidecar.doctor.client import Client
from sidecar.doctor.findings import Chapter, Finding, skip
from sidecar.doctor.fronts import recognise
from sidecar.doctor.judge import admin as judge_admin
from sidecar.doctor.judge import answer as judge_answer
from sidecar.doctor.judge import leaving as judge_leaving
from sidecar.doctor.judge import way as judge_way
from sidecar.doctor.reach import reach
from sidecar.doctor.records import Records
from sidecar.doctor.target import target_of
from sidecar.doctor.visit import Deed, Visit
from sidecar.doctor.ways import own_ways
from sidecar.turn.state import SETTLED, State, StepKind, Turn
from sidecar.upstream.admin import AdminClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.config import Settings
    from sidecar.doctor.target import Options, Target
    from sidecar.engine.ports import CallOutcome

DELIVERED_S: Final = 5.0
"""So long after an answer's end the sidecar knows whether it was delivered."""
THINKING_S: Final = 0.1
"""So long after the sidecar has journalled a chat the backend has it, and may not have begun to answer."""
CHATS: Final = 6
"""How many chats an examination asks for, at most."""


async def examine(settings: Settings, options: Options, tell: Callable[[Chapter], None]) -> list[Chapter]:
    """Examine a route; each chapter is also told as soon as it is known. Raises OperatorError where it cannot be."""
    target = target_of(settings, options)
    chapters: list[Chapter] = []

    def told(title: str, *findings: Finding | None) -> None:
        chapters.append(Chapter(title, tuple(finding for finding in findings if finding is not None)))
        tell(chapters[-1])

    async with AsyncExitStack() as stack:
        records = Records(await stack.enter_async_context(operator_journal(settings)))
        trust = ssl.create_default_context() if target.tls else None
        public = await reach(TcpAddress(target.host, target.port), timeout_s=target.timeout_s, trust=trust)
        told("The way there", judge_way.public(target.url, public), *await own_ways(settings, target.timeout_s))
        if public.error is not None:
            return chapters
        client = await stack.enter_async_context(Client.of(target, verified=public.distrust is None))
        admin = AdminClient(settings.admin, settings.admin_url, InForce(settings).sources_of, settings.admin_tls)
        await admin.start()
        stack.push_async_callback(admin.close)
        rounds = _Rounds(settings=settings, target=target, client=client, records=records, admin=admin, told=told)
        await rounds.make()
    return chapters


@dataclass(kw_only=True)
class _Rounds:
    """The rounds of one examination, and what they come to know."""

    settings: Settings
    target: Target
    client: Client
    records: Records
    admin: AdminClient
    told: Callable[..., None]
    front: str | None = None
    patience_s: float = 0.0
    """How long the first piece of an answer is waited for, before something is done amid it."""
    left: list[Visit] = field(default_factory=list)
    """The visits that did not end well for their turns: something is owed for each."""

    async def make(self) -> None:
        """Make every round that makes sense after what the one before has shown."""
        visit, turn = await self._read()
        if turn is None or not visit.answered:
            return
        self.patience_s = _patience_s(visit, turn, self.target.timeout_s)
        await self._leave()
        await self._say_cancel()
        await self._call_admin(turn)

    async def _read(self) -> tuple[Visit, Turn | None]:
        """Read an answer to its end."""
        visit = await self.client.read(Deed.READ)
        turn = await self.records.until(visit, _is_over, DELIVERED_S) if visit.status is not None else None
        self.front = recognise(visit.headers)
        findings: list[Finding | None] = [judge_answer.success(visit)]
        if visit.answered:
            findings.append(judge_answer.tracked(visit, turn))
        if visit.answered and turn is not None:
            findings += [
                judge_answer.in_time(visit, turn, self.front),
                judge_answer.uncompressed(visit, self.front),
                judge_answer.accel(visit),
                judge_answer.delivered(turn) if visit.ended_at is not None else None,
                judge_answer.request_id_back(visit, self.front),
                judge_answer.conversation_id_back(visit, turn, self.target.chat, self.front),
                judge_answer.captured(visit, turn),
                judge_way.clock(visit, turn.created_at),
            ]
        self.told("An answer read to its end", *findings)
        return visit, turn

    async def _leave(self) -> None:
        """Leave in each way that clients do."""
        title = "Clients that leave"
        if (put_up_with := judge_leaving.not_acted_upon(self.target.chat)) is not None:
            self.told(title, put_up_with)
            return
        findings: list[Finding] = []
        for deed in (Deed.CLOSE, Deed.RESET, Deed.HURRY):
            sooner = self._thinking if deed is Deed.HURRY else None
            visit = await self.client.leave(deed, patience_s=self.patience_s, sooner=sooner)
            if deed is Deed.CLOSE:
                findings.append(judge_answer.kept_open(visit, self.front))
            findings.append(await self._see_left(visit))
        self.told(title, *findings)

    async def _see_left(self, visit: Visit) -> Finding:
        waited_s = self.target.timeout_s
        turn = await self.records.until(visit, _is_heard, waited_s)
        self.left.append(visit)
        await self.records.undo(visit, turn, DELIVERED_S)
        return judge_leaving.left(
            visit, turn, front=self.front, cancel_path=self.target.chat.cancel_path, waited_s=waited_s
        )

    async def _taken_up(self, visit: Visit) -> object:
        return await self.records.until(visit, lambda _: True, self.target.timeout_s)

    async def _thinking(self, visit: Visit) -> None:
        """Wait until the backend has the chat, and is likely to be thinking about it."""
        await self._taken_up(visit)
        await asyncio.sleep(THINKING_S)

    async def _under_way(self, visit: Visit) -> None:
        """Wait until an answer is under way: its first piece has come, or has been waited for long enough."""
        await self._taken_up(visit)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience_s):
                await visit.begun.wait()

    async def _say_cancel(self) -> None:
        """Say cancel while an answer is under way, and read on until it is cut off."""

        async def say(visit: Visit) -> None:
            await self._under_way(visit)
            await self.client.cancel(visit)

        visit = await self.client.read(Deed.CANCEL, meanwhile=say)
        turn = await self.records.until(visit, _is_heard, DELIVERED_S)
        self.left.append(visit)
        self.told("A client that says cancel", judge_leaving.said(visit, turn, self.target.chat.cancel_path))

    async def _call_admin(self, turn: Turn) -> None:
        """Make the admin calls where it is certain what they have to do, and see what became of the sidecar's own."""
        calls, findings = self.settings.admin.calls, []
        if not calls:
            self.told("The admin API", skip("admin", "no admin call is configured: closing the stream is all there is"))
            return
        if StepKind.CONFIRM in calls:
            findings.append(judge_admin.confirm(turn, await self.records.history(turn)))
        if StepKind.CANCEL in calls:
            findings.append(await self._cancel_by_admin())
        if StepKind.ROLLBACK in calls or StepKind.VERIFY in calls:
            findings += await self._remove(turn)
        cancelled = [await self.records.owed(visit, self.target.timeout_s) for visit in self.left]
        findings += judge_admin.steps([(one, entries) for one, entries in cancelled if one and one.cancelled_at])
        self.told("The admin API", *findings)

    async def _cancel_by_admin(self) -> Finding:
        """Call admin.cancel while an answer is under way, and see whether that ends it."""
        called: list[judge_admin.Called] = []
        needs = self.settings.admin.calls[StepKind.CANCEL].needs

        async def call(visit: Visit) -> None:
            await self._under_way(visit)
            turn = await self.records.until(visit, lambda one: needs <= one.captured.keys(), DELIVERED_S)
            if turn is not None and needs <= turn.captured.keys():
                called.append(await self._call(StepKind.CANCEL, turn))

        visit = await self.client.read(Deed.WATCH, meanwhile=call)
        turn = await self.records.until(visit, _is_over, DELIVERED_S)
        await self.records.undo(visit, turn, DELIVERED_S)
        self.left.append(visit)
        return judge_admin.cancel(visit, called[0] if called else None)

    async def _remove(self, turn: Turn) -> list[Finding]:
        """Remove the conversation that was read to its end, twice; look for it before and after."""
        calls = self.settings.admin.calls
        needs = frozenset().union(
            *(calls[kind].needs for kind in (StepKind.ROLLBACK, StepKind.VERIFY) if kind in calls)
        )
        if StepKind.ROLLBACK not in calls:
            return [skip("admin_rollback", "admin.rollback is not configured: conversations of this examination stay")]
        if (
            not turn.begins
            or turn.state not in {State.COMPLETED, State.CONFIRMING}
            or not needs <= turn.captured.keys()
        ):
            return [
                skip("admin_rollback", "admin.rollback was not tried: no conversation was begun and kept for certain")
            ]
        before = await self._shows(turn)
        first = await self._call(StepKind.ROLLBACK, turn)
        after = await self._shows(turn)
        removal = judge_admin.Removal(
            seen_before=before, first=first, seen_after=after, second=await self._call(StepKind.ROLLBACK, turn)
        )
        looked = [judge_admin.verify(removal)] if StepKind.VERIFY in calls else []
        return [judge_admin.rollback(removal), *looked]

    async def _shows(self, turn: Turn) -> bool | None:
        return await self.admin.shows(turn.captured) if StepKind.VERIFY in self.settings.admin.calls else None

    async def _call(self, kind: StepKind, turn: Turn) -> judge_admin.Called:
        begun = time.monotonic()
        outcome: CallOutcome = await self.admin.call(kind, turn, idempotency_key=f"doctor:{turn.id}:{kind}")
        return judge_admin.Called(outcome, time.time(), time.monotonic() - begun)


def _is_over(turn: Turn) -> bool:
    """Say whether nothing more is to come of a turn that its client read to its end."""
    return turn.state in SETTLED | {State.CONFIRMING, State.CANCELLING}


def _is_heard(turn: Turn) -> bool:
    """Say whether the sidecar has made up its mind about a client that left."""
    return turn.cancelled_at is not None or _is_over(turn)


def _patience_s(read: Visit, turn: Turn, timeout_s: float) -> float:
    """Say how long to wait for a first piece: where answers are held back it comes too late to leave mid-answer."""
    if turn.answer_began_at is None or turn.answered_at is None or read.first_at is None:
        return timeout_s
    held_back = read.first_at >= turn.answered_at
    return max(0.1, (turn.answer_began_at + turn.answered_at) / 2 - turn.created_at) if held_back else timeout_s
