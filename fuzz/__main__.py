"""`python -m fuzz TARGET [--runs N] [--seed S]`: mutate a target's corpus until it is enough, or found.

A target is one of those in `fuzz.targets`, or `all`. The same seed gives the same inputs. `fuzz.coverage` goes deeper.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from random import Random
from typing import TYPE_CHECKING, Final

from fuzz.corpus import inputs, keep
from fuzz.mutate import mutate
from fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz.targets import Target

SLOW_S: Final = 2.0
FINDINGS_MAX: Final = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; give the number of findings, as an exit code."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--runs", type=int, default=100_000, metavar="N", help="inputs for each target")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    options = parser.parse_args(arguments)
    names = list(TARGETS) if options.target == "all" else [options.target]
    return min(sum(fuzz(name, runs=options.runs, seed=options.seed) for name in names), 100)


def fuzz(name: str, *, runs: int, seed: int) -> int:
    """Run a target; tell and keep what was found, and give its number."""
    target, corpus = TARGETS[name], inputs(name)
    chance, findings, begun = Random(f"{name} {seed}"), 0, time.monotonic()  # noqa: S311  (no secret)
    for data in corpus:
        findings += not _holds(name, target, data)
    for _ in range(runs):
        findings += not _holds(name, target, mutate(chance.choice(corpus), corpus, chance))
        if findings >= FINDINGS_MAX:
            break
    _tell(f"{name}: {runs} inputs in {time.monotonic() - begun:.0f} s, seed {seed}: {findings} findings")
    return findings


def _holds(name: str, target: Target, data: bytes) -> bool:
    begun = time.process_time()
    try:
        target(data)
    except Exception:  # noqa: BLE001  (whatever it is, it is a finding)
        _tell(f"{traceback.format_exc()}\n{name}: kept as {keep(name, data)}")
        return False
    if (took_s := time.process_time() - begun) > SLOW_S:
        _tell(f"{name}: took {took_s:.1f} s, kept as {keep(name, data)}")
        return False
    return True


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
