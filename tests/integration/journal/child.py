"""A sidecar's process in small: `child.py submit PATH` or `child.py hold PATH`. It goes on until it is killed.

`submit` journals turns at several places at once and prints the id of each that was acknowledged; `hold` prints one
line once the journal is its own.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from sidecar.engine.ports import Change
from sidecar.journal.store import SqliteJournal
from sidecar.turn.state import Plan, StepKind, Turn

PLAN = Plan()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def submit_on(journal: SqliteJournal, place: int) -> None:
    for number in itertools.count():
        turn = Turn(
            id=f"{place}-{number}",
            route="/chat",
            principal="p",
            begins=True,
            captured={"request_id": f"r{place}-{number}"},
            created_at=1.0,
            plan=PLAN,
        )
        await journal.submit(Change(turn=turn, owed=(StepKind.CANCEL,), at=1.0))
        say(turn.id)


async def main(what: str, path: str) -> None:
    journal = await SqliteJournal.open(path, plan_of=lambda _: PLAN, clock=lambda: 1.0)
    if what == "hold":
        say("mine")
        await asyncio.Event().wait()
    await asyncio.gather(*(submit_on(journal, place) for place in range(8)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
