"""One schedule: a site and its weather, clients that come and go, crashes; then calm, until everything has settled.

        client <--> exchange --- driver, dispatcher, ... --- journal (outlives crashes)
                       |                  '--- admin API ---.
                       '------------ upstream --------------'

Same seed, same schedule.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.engine.operator import DROPPABLE
from sidecar.errors import JournalUnavailableError
from sidecar.turn.state import SETTLED
from tests.simulation.admin import SimulatedAdminApi
from tests.simulation.client import Visit, draw_visit
from tests.simulation.clock import Dice, Process, VirtualLoop
from tests.simulation.ends import check_ends
from tests.simulation.journal import SimulatedJournal
from tests.simulation.laws import Laws, Record
from tests.simulation.sidecar import SimulatedSidecar
from tests.simulation.site import TEMP_TTL_S, draw_site
from tests.simulation.upstream import Upstream

if TYPE_CHECKING:
    from sidecar.turn.state import Turn

EPOCH: Final = 1_700_000_000.0
SETTLED_WITHIN_S: Final = 150.0
LOOK_S: Final = 1.0
FORWARD_MAX_S: Final = 10.0
BACK_MAX_S: Final = 40.0


class World:
    """All there is in one schedule."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.loop = loop
        self.dice = Dice(seed)
        self.trace: list[tuple[float, float, tuple[object, ...]]] = []
        self.site = draw_site(self.dice)
        self.laws = Laws(self)
        self.journal = SimulatedJournal(loop, self.dice, self.laws)
        self.upstream = Upstream(loop, self.dice, self.site)
        self.admin = SimulatedAdminApi(loop, self.dice, self.upstream, self.laws, trouble=self.site.admin_trouble)
        self.sidecar: SimulatedSidecar | None = None
        self.life = 0
        self.listening = True
        self._process: Process | None = None
        self._visits: list[Visit] = []
        self._wall_offset = EPOCH
        self._wall_offset_max = EPOCH
        self._calm = False

    # -- for everyone ----------------------------------------------------------------------------------------------

    def wall(self) -> float:
        """Give the time of the wall clock, which may jump; in seconds since the epoch."""
        return self.loop.time() + self._wall_offset

    def note(self, *what: object) -> None:
        """Write something into the trace."""
        self.trace.append((self.loop.time(), self._wall_offset - EPOCH, what))

    async def port(self) -> None:
        """Cross a border: others may be quicker."""
        await asyncio.sleep(self.dice.mostly(0.0, self.dice.between(0, 0.05)))

    def is_old(self, turn: Turn) -> bool:
        """Say whether the sweeper may have found the turn."""
        return self._wall_offset_max + self.loop.time() - turn.created_at > TEMP_TTL_S

    @property
    def listener(self) -> SimulatedSidecar | None:
        """Give the sidecar, where it takes requests."""
        return self.sidecar if self.listening else None

    @property
    def forgets_soon(self) -> bool:
        """Whether a turn may be pruned while its client still asks for it."""
        return self.site.retention_s < SETTLED_WITHIN_S

    # -- the schedule ----------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """Play the schedule to its end, or until a law is broken."""
        dice, site = self.dice, self.site
        active_s = dice.between(3, 10)
        self._boot()
        for number in range(dice.number(1, 5)):
            self.loop.outside(dice.between(0.1, active_s * 0.8), self._come, number)
        for _ in range(site.crashes):
            self.loop.outside(dice.between(0.1, active_s), self._crash, dice.number(0, 40), dice.chance(0.25))
        for _ in range(site.journal_troubles):
            self.loop.outside(dice.between(0.1, active_s), self._trouble_journal, dice.number(0, 2))
        for _ in range(site.clock_jumps):
            self.loop.outside(dice.between(0.1, active_s), self._jump, dice.between(-BACK_MAX_S, FORWARD_MAX_S))
        for _ in range(site.operator_visits):
            self.loop.outside(dice.between(0.1, active_s), self._visit_of_operator)
        await asyncio.sleep(active_s)
        self._become_calm()
        await self._settle()
        if not self.laws.broken:
            check_ends(self)
            await self._stop()

    async def _settle(self) -> None:
        """Wait until nothing is under way; then once more, after the operator had every dead step tried again."""
        for self.listening in (True, False):
            deadline = self.loop.time() + SETTLED_WITHIN_S
            while not self._is_settled():
                if self.laws.broken:
                    return
                if self.loop.time() > deadline:
                    self.laws.must("9: not settled in time", False, str(self._unsettled()))
                    return
                self._set_clock_right()
                await asyncio.sleep(LOOK_S)
            assert self.sidecar is not None
            await self._let_operator_retry(self.sidecar)

    def _is_settled(self) -> bool:
        idle = self.sidecar is not None and not self.sidecar.asks and all(visit.over for visit in self._visits)
        return idle and not self._unsettled()

    def _unsettled(self) -> list[str]:
        live = [] if self.sidecar is None else [live.turn.id for live in self.sidecar.driver.live]
        owing = [row.turn_id for row in self.journal.rows() if row.state in {"pending", "leased"}]
        dead = {row.turn_id for row in self.journal.rows() if row.state == "dead"}
        asking = [turn.id for turn in self.journal.durable() if turn.state not in SETTLED and turn.id not in dead]
        return live + owing + asking + self.journal.ordered()

    async def _stop(self) -> None:
        """Stop the sidecar; nothing may be left of it."""
        sidecar = self.sidecar
        assert sidecar is not None
        await sidecar.process.spawn(sidecar.stop())
        self.laws.must("9: something is left in memory", not sidecar.leftovers(), str(sidecar.leftovers()))
        tasks = sidecar.process.tasks()
        self.laws.must("9: a task is left", not tasks, str(tasks))

    def _set_clock_right(self) -> None:
        if self._wall_offset < self._wall_offset_max and self._may_jump_forward():
            self.note("the clock is set right")
            self._wall_offset = self._wall_offset_max

    # -- what happens ----------------------------------------------------------------------------------------------

    def _come(self, number: int) -> None:
        visit = draw_visit(self, number, self._visits)
        self._visits.append(visit)
        self.laws.records[visit.turn_id] = Record(visit, self.life)
        visit.begin()

    def _boot(self) -> None:
        if self._process is None:
            self.life += 1
            self.note("starts", self.life)
            process = self._process = Process(self.loop, self._died)
            process.spawn(self._start(process))

    async def _start(self, process: Process) -> None:
        try:
            self.sidecar = await SimulatedSidecar.start(self, process)
        except JournalUnavailableError as error:
            self.note("cannot start", str(error))
            process.kill(0)

    def _crash(self, after_steps: int, orderly: bool) -> None:
        if self._process is None or self._calm:
            return
        self.note("is told to stop" if orderly else "crashes", after_steps)
        if orderly and self.sidecar is not None:
            self._process.spawn(self._stop_orderly(self.sidecar))
        else:
            self._process.kill(after_steps)

    async def _stop_orderly(self, sidecar: SimulatedSidecar) -> None:
        self.sidecar = None
        await sidecar.stop()
        sidecar.process.kill(0)

    def _died(self) -> None:
        """Nothing of the process is left but what is durable; its connections break."""
        self.note("is dead")
        process, self._process, self.sidecar = self._process, None, None
        self.journal.crash()
        for generation in self.upstream.generations.values():
            if generation.process is process and generation.connected:
                self.upstream.disconnect(generation)
        for visit in self._visits:
            if visit.connected:
                visit.cut_off()
        self.loop.outside(self.dice.mostly(0.3, 3.0), self._boot)

    def _trouble_journal(self, kind: int) -> None:
        attribute = ("full", "slow", "broken")[kind]
        self.note("journal trouble", attribute)
        setattr(self.journal, attribute, not self._calm)
        self.loop.outside(self.dice.between(0.2, 3), self._mend_journal)

    def _mend_journal(self) -> None:
        self.note("journal mended")
        self.journal.full = self.journal.slow = self.journal.broken = False

    def _jump(self, by_s: float) -> None:
        """Let the wall clock jump."""
        if not self._calm and (by_s < 0 or self._may_jump_forward()):
            self.note("the clock jumps", by_s)
            self._wall_offset += by_s
            self._wall_offset_max = max(self._wall_offset, self._wall_offset_max)

    def _may_jump_forward(self) -> bool:
        """Say whether nothing is under way in the upstream that the sidecar has to give time: law 7, ARRIVAL_MAX_S."""
        underway = self.sidecar.exchanges if self.sidecar else ()
        heard = all(self.upstream.has_taken_up(turn_id) for turn_id in (*underway, *self.upstream.generations))
        return heard and not self.upstream.returning

    def _visit_of_operator(self) -> None:
        if self.sidecar is None:
            return
        self._let_operator_retry(self.sidecar)
        if self._visits and self.dice.chance(0.5):
            turn_id = self.dice.choose(self._visits).turn_id
            self.note("the operator orders a cancel", turn_id)
            self.laws.ordered.add(turn_id)
            Process(self.loop, lambda: None).spawn(self.sidecar.order_cancel(turn_id))
        undelivered = [row for row in self.journal.rows() if row.state in DROPPABLE]
        if undelivered and self.dice.chance(0.7):
            row = self.dice.choose(undelivered)
            self.note("the operator orders a drop", row.turn_id, row.kind)
            self.laws.dropped.add((row.turn_id, row.kind))
            Process(self.loop, lambda: None).spawn(self.sidecar.order_drop(row.id))

    def _let_operator_retry(self, sidecar: SimulatedSidecar) -> asyncio.Task[None]:
        self.note("the operator tries again what is dead")
        return Process(self.loop, lambda: None).spawn(sidecar.retry_all())

    def _become_calm(self) -> None:
        """All faults are over."""
        self.note("calm")
        self._calm = True
        if self._process is not None:
            self._process.spare()
        self.admin.trouble = 0.0
        self._mend_journal()
