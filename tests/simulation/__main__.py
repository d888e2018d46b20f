"""`python -m tests.simulation SEED` shows a schedule; `python -m tests.simulation FIRST LAST` looks for a bad one."""

from __future__ import annotations

import sys

from tests.simulation.schedule import ScheduleError, play, report


def main(first: int, last: int | None = None) -> int:
    """Play; give the exit status."""
    for seed in range(first, (first if last is None else last) + 1):
        try:
            world = play(seed)
        except ScheduleError as error:
            sys.stdout.write(f"{error}\n")
            return 1
        if last is None:
            sys.stdout.write(f"{report(world, seed)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
