"""`python -m bench.guard`: fails where the sidecar has become much dearer. A few seconds, for `.ci/run`.

No time is judged: CPU, as a ratio to what a relay that knows no HTTP needs for the same, in runs that alternate. Noise
makes a run dearer, hardly ever cheaper, so the best ratio counts; the bound is wide, and who is over it is tried again.
"""

from __future__ import annotations

import argparse
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
    "chunk": "streams --streams 100 --gap 25 --size 16-200 --ramp 0.1 --window 0.6 --limit 8",
    "turn": "turns --connections 32 --chunks 5 --gap 10 --size 16-200 --warm 0.3 --window 0.7",
}
# The ratios as they were when this was last looked at; lower them after an improvement, never raise them unexplained.
RECORDED = {"request": 8.0, "chunk": 1.9, "turn": 9.0}
RECORDED_PLAIN = {"request": 2.0}


@dataclass(frozen=True)
class Ends:
    """A load and a backend, between which a sidecar and a floor stand; `run` gives a row of figures."""

    everyone: Mapping[str, Running]
    run: Callable[[Running, str], Row]
    scenarios: Mapping[str, str]
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
    dearer = list(ends.scenarios)
    for _ in range(TRIES):
        dearer = [name for name in dearer if not is_cheap(ends, name)]
    return 1 if dearer else 0


def is_cheap(ends: Ends, name: str) -> bool:
    """Measure once, and say what came of it."""
    rows = [{peer: ends.run(one, ends.scenarios[name]) for peer, one in ends.everyone.items()} for _ in range(ROUNDS)]
    ratio = min(
        float(row[peers.SIDECAR]["cpu_us_per_unit"]) / float(row[peers.FLOOR]["cpu_us_per_unit"]) for row in rows
    )
    damaged = sum(int(row[peers.SIDECAR][what]) for row in rows for what in ("errors", "lost_chunks", "changed_chunks"))
    most = ends.recorded[name] * BOUND
    print(f"guard: CPU per {name}: {ratio:.2f} times the floor's, may be {most:.2f}; {damaged} errors")
    return ratio <= most and not damaged


def start(home: Path, stack: ExitStack, *, use_c: bool) -> Ends:
    """Start sidecar and floor, warm. Raises StartError."""
    try:
        built = native.build(home) if use_c else None
    except native.NoCompilerError as error:
        print(f"guard: {error}; going on without, on one figure alone", file=sys.stderr)
        built = None
    floor = peers.FLOOR if built else peers.PLAIN_FLOOR
    backend_port, *ports = free_ports(3)
    everyone = {}
    for name, port in zip((floor, peers.SIDECAR), ports, strict=True):
        (peer,) = peers.chosen([name])
        running = Running(peer, port, backend_port, home, built)
        stack.callback(running.stop)
        running.start()
        everyone[peers.FLOOR if name == floor else name] = running
    run = run_c if built else plain.run
    ends = Ends(
        everyone, run, SCENARIOS if built else dict.fromkeys(RECORDED_PLAIN, ""), RECORDED if built else RECORDED_PLAIN
    )
    for running in everyone.values():
        run(running, SCENARIOS["request"])
    return ends


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
