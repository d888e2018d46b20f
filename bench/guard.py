"""`python -m bench.guard`: fails where the sidecar has become much dearer. A few seconds, for `.ci/run`.

No time is judged: CPU, as a ratio to what a relay that knows no HTTP needs for the same, in runs that alternate. That
floor is in Python, too: a busy machine makes both dearer alike, while a floor in C would hardly feel it. The best ratio
counts, the bound is wide, and who is over it is tried again.
"""

from __future__ import annotations

import argparse
import math
import os
import socket
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import measure, native, peers, plain
from bench.processes import CONSOLE_OFFSET, Running, StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.measure import Row

BOUND = 2.0  # times what is recorded below
ROUNDS = 2
TRIES = 2
FIRST_PORT, PORTS = 23_000, 400
SCENARIOS = {
    "request": "rate --connections 16 --warm 0.2 --window 0.5",
    "chunk": "streams --streams 100 --gap 25 --chunks 60 --size 16-200 --ramp 0.1 --window 0.6 --limit 8",
    "turn": "turns --connections 32 --chunks 5 --gap 10 --size 16-200 --warm 0.3 --window 0.7",
}
# The ratios as they were when this was last looked at; lower them after an improvement, never raise them unexplained.
RECORDED = {"request": 5.5, "chunk": 1.2, "turn": 6.5}
RECORDED_PLAIN = {"request": 5.0}


@dataclass(frozen=True)
class Ends:
    """A load and a backend, between which a sidecar and a floor stand; `run` gives a row of figures."""

    sidecar: Running
    floor: Running
    run: Callable[[Running, str], Row]
    recorded: Mapping[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """0: as cheap as it was; 1: it has become dearer, or damaged what it relayed; 2: it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument("--plain", action="store_true", help="without the C parts, as where there is no compiler")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="sidecar-guard-") as folder, ExitStack() as stack:
        home = Path(os.environ.get("BENCH_HOME", folder))
        try:
            ends = start(home, stack, use_c=not options.plain)
        except StartError as error:
            print(f"guard: {error}", file=sys.stderr)
            return 2
        return judge(ends)


def judge(ends: Ends) -> int:
    dearer = list(ends.recorded)
    for _ in range(TRIES):
        dearer = [name for name in dearer if not is_cheap(ends, name)]
    return 1 if dearer else 0


def is_cheap(ends: Ends, name: str) -> bool:
    """Measure in turns, and say what came of it."""
    rows = [(ends.run(ends.sidecar, SCENARIOS[name]), ends.run(ends.floor, SCENARIOS[name])) for _ in range(ROUNDS)]
    costs = [(float(ours["cpu_us_per_unit"]), float(floors["cpu_us_per_unit"])) for ours, floors in rows]
    ratio = min((ours / floors for ours, floors in costs if min(ours, floors) > 0), default=math.inf)
    damaged = sum(int(ours[what]) for ours, _ in rows for what in ("errors", "lost_chunks", "changed_chunks"))
    most = ends.recorded[name] * BOUND
    print(f"guard: CPU per {name}: {ratio:.2f} times the floor's, may be {most:.2f}; {damaged} errors", flush=True)
    return ratio <= most and not damaged


def start(home: Path, stack: ExitStack, *, use_c: bool) -> Ends:
    """Start sidecar and floor, warm. Raises StartError."""
    try:
        built = native.build(home) if use_c else None
    except native.NoCompilerError as error:
        print(f"guard: {error}; going on without, on one figure alone", file=sys.stderr)
        built = None
    backend_port, *ports = free_ports(3)
    floor, sidecar = (
        Running(peer, port, backend_port, home, built)
        for peer, port in zip(peers.chosen([peers.PLAIN_FLOOR, peers.SIDECAR])[::-1], ports, strict=True)
    )
    run, recorded = (run_c, RECORDED) if built else (plain.run, RECORDED_PLAIN)
    for running in (floor, sidecar):
        stack.callback(running.stop)
        running.start()
        run(running, SCENARIOS["request"])
    return Ends(sidecar, floor, run, recorded)


def run_c(running: Running, arguments: str) -> Row:
    return measure.rig(running, arguments, seed=1)


def free_ports(count: int) -> list[int]:
    """Below those that the system gives to clients, who might take one meanwhile. Raises StartError."""
    first = FIRST_PORT + os.getpid() % PORTS
    free = [port for port in range(first, first + PORTS) if is_free(port) and is_free(port + CONSOLE_OFFSET)]
    if len(free) < count:
        raise StartError("there are not enough free ports")
    return free[:count]


def is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


if __name__ == "__main__":
    sys.exit(main())
