"""`python -m bench`: measure everything side by side, and write docs/benchmarks/. See bench/README.md."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine, measure, native, peers, provision, report, scenarios
from bench.processes import Running, StartError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Row

ROOT = Path(__file__).parents[1]
BACKEND_PORT = 22080


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 measured, 2 nothing could be."""
    options = parse(argv)
    if options.report:
        report.write(json.loads(options.report.read_text(encoding="utf-8")), options.out)
        return 0
    options.home.mkdir(parents=True, exist_ok=True)
    if not options.no_install:
        for name in provision.provision(options.home):
            print(f"  could not be installed: {name}", file=sys.stderr)
    try:
        built = native.build(options.home)
    except native.NoCompilerError as error:
        print(error, file=sys.stderr)
        return 2
    started = dt.datetime.now(dt.UTC)
    rows = run(options, built)
    measured = {"machine": machine.describe(), "at": f"{started:%Y-%m-%d %H:%M} UTC", "rows": rows}
    report.write(measured, options.out)
    print(f"written to {options.out}")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    every_peer, every_scenario = [peer.name for peer in peers.PEERS], [each.name for each in scenarios.SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--peers", default=every_peer, type=names, help=f"of {','.join(every_peer)}")
    parser.add_argument("--scenarios", default=every_scenario, type=names, help=f"of {','.join(every_scenario)}")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved repeats; the figures are their medians (3)")
    parser.add_argument("--seed", type=int, default=1, help="of sizes, phases and the moments of leaving")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks", help="where table, plots, JSON go")
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("BENCH_HOME", ROOT / ".bench")))
    parser.add_argument("--no-install", action="store_true", help="take what is there")
    parser.add_argument("--report", type=Path, metavar="RESULTS.JSON", help="only write table and plots again")
    return parser.parse_args(argv)


def names(text: str) -> list[str]:
    return text.split(",")


def run(options: argparse.Namespace, built: native.Native) -> list[Row]:
    chosen = scenarios.chosen(options.scenarios)
    rows = []
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has it ignored
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        everyone = start_all(options, built, stack)
        try:
            for row in measure.run(everyone, chosen, options.rounds, options.seed):
                print(report.line(row), file=sys.stderr)
                rows.append(row)
        except KeyboardInterrupt:
            print("  interrupted: what was measured so far is written", file=sys.stderr)
    return rows


def start_all(options: argparse.Namespace, built: native.Native, stack: ExitStack) -> list[Running]:
    """Those that can be started, warm and held still."""
    everyone = []
    for number, peer in enumerate(peers.chosen(options.peers)):
        running = Running(peer, BACKEND_PORT + 1 + number, BACKEND_PORT, options.home, built)
        if not running.is_there():
            print(f"  left out: {peer.name} is not installed", file=sys.stderr)
            continue
        stack.callback(running.stop)
        try:
            running.start()
            measure.warm_up(running)
        except (StartError, RuntimeError) as error:
            print(f"  left out: {error}", file=sys.stderr)
            continue
        running.freeze()
        everyone.append(running)
    return everyone


if __name__ == "__main__":
    sys.exit(main())
