"""`python -m bench.growth`: what a journal of ten million turns slows down, and how long a start after a crash takes.

The rows are made by SQL, without the sidecar; the file and its tables are made by the sidecar, so they are its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sqlite3
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench import measure, native, peers
from bench.processes import Running
from sidecar.journal.store import SqliteJournal
from sidecar.turn.state import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
BACKEND_PORT, PORT = 22480, 22481
ROWS_AT_ONCE = 500_000
START_S = 600
SCENARIOS = {
    "turns": "turns --connections 64 --chunks 5 --gap 20 --size 16-200 --window 3",
    "cancel": "cancel --streams 200 --ramp 1 --close-lo 0.2 --close-hi 1.2 --gap 50 --expect cancel,rollback",
}
FIGURES = ("cpu_us_per_unit", "latency_p50_us", "latency_p99_us", "cancelled_p99_us", "rolled_back_p99_us")
FILL = """
INSERT INTO turns (
  id, route, principal, request_id, conversation_id, captured, begins, state,
  created_at, answer_began_at, answered_at, confirmed_at, settled_at, looks, rollbacks
)
WITH RECURSIVE numbers(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < :first + :rows)
SELECT
  printf('%012x%016x', CAST((:since + i * :gap) * 1000 AS INTEGER), i), 'POST /api/ai-coach/chat',
  printf('%016x', i * 7919 % 100003), 'req_' || i || '_' || hex(randomblob(5)), 'old_' || hex(randomblob(8)),
  '{}', i % 3 = 0, :state, :since + i * :gap, :since + i * :gap + 1,
  iif(:state = 'open', NULL, :since + i * :gap + 9), iif(:state = 'open', NULL, :since + i * :gap + 9),
  iif(:state = 'open', NULL, :since + i * :gap + 9), 0, 0
FROM numbers
"""
OLDEST_S, UNSETTLED_S = 5 * 86_400, 300  # within the retention; within the life of a temporary conversation


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--turns", type=int, default=10_000_000, help="settled turns in the large journal")
    parser.add_argument("--unsettled", type=int, default=100_000, help="turns that a crash left unsettled")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("BENCH_HOME", ROOT / ".bench")))
    options = parser.parse_args(argv)
    built = native.build(options.home)
    slow_start(options, built)
    large_journal(options, built)
    return 0


def sidecar(name: str, port: int, home: Path, built: native.Native) -> Running:
    (peer,) = peers.chosen([peers.SIDECAR])
    return Running(replace(peer, name=name, start_s=START_S), port, BACKEND_PORT, home, built)


def slow_start(options: argparse.Namespace, built: native.Native) -> None:
    """From the start of the process until it listens, with turns to be recovered and without."""
    with ExitStack() as stack:
        for count in (0, options.unsettled):
            running = sidecar(f"start-{count}", PORT, options.home, built)
            running.prepare()
            fill(running.folder / "sidecar.db", count, state="open", over_s=UNSETTLED_S)
            stack.callback(shutil.rmtree, running.folder, ignore_errors=True)
            began = time.monotonic()
            running.launch()
            print(f"{count:,} unsettled turns: listens {time.monotonic() - began:.1f} s after its start")
            running.stop()


def large_journal(options: argparse.Namespace, built: native.Native) -> None:
    """The same load on an empty and on a large journal, alternating."""
    with ExitStack() as stack:
        everyone = {
            count: sidecar(f"journal-{count}", PORT + count % 7, options.home, built) for count in (0, options.turns)
        }
        for count, running in everyone.items():
            running.prepare()
            stack.callback(shutil.rmtree, running.folder, ignore_errors=True)
            began = time.monotonic()
            fill(running.folder / "sidecar.db", count, state="completed", over_s=OLDEST_S)
            size = (running.folder / "sidecar.db").stat().st_size / 2**20
            print(f"{count:,} turns: {size:,.0f} MiB, made in {time.monotonic() - began:.0f} s", flush=True)
            stack.callback(running.stop)
            running.launch()
            measure.warm_up(running)
        for name, arguments in SCENARIOS.items():
            compare(name, arguments, everyone, options.rounds)


def compare(name: str, arguments: str, everyone: dict[int, Running], rounds: int) -> None:
    rows: dict[int, list[measure.Row]] = {count: [] for count in everyone}
    for number in range(rounds):
        for count, running in everyone.items():
            rows[count].append(measure.rig(running, arguments, seed=number))
    for figure in FIGURES:
        values = {count: median(float(row.get(figure, -1)) for row in of_count) for count, of_count in rows.items()}
        if min(values.values()) > 0:
            told = ", ".join(f"{value:,.0f} with {count:,} turns" for count, value in values.items())
            print(f"{name}: {figure}: {told}: x {values[max(values)] / values[0]:.2f}")


def fill(path: Path, count: int, *, state: str, over_s: float) -> None:
    """Make a journal with so many turns, spread over the last `over_s` seconds. Indexes are made after their rows."""
    asyncio.run(make_journal(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for pragma in ("journal_mode = MEMORY", "synchronous = OFF", "cache_size = -1000000", "temp_store = MEMORY"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        indexes = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'turns'")
        made = [(name, sql) for name, sql in indexes.fetchall() if sql]
        for name, _ in made:
            database.execute(f"DROP INDEX {name}")
        values = {"since": time.time() - over_s, "gap": over_s / max(1, count), "state": state}
        for first in range(0, count, ROWS_AT_ONCE):
            database.execute(FILL, {**values, "first": first, "rows": min(ROWS_AT_ONCE, count - first)})
        for _, sql in made:
            database.execute(sql)
        database.execute("PRAGMA journal_mode = WAL").fetchall()


async def make_journal(path: Path) -> None:
    journal = await SqliteJournal.open(str(path), plan_of=lambda _: Plan(), clock=time.time)
    await journal.close()


if __name__ == "__main__":
    sys.exit(main())
