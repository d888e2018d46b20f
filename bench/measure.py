"""One run of the rig against one peer, and the round of all of them: interleaved, so that noise falls on each alike."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, TypeAlias, cast

from bench.processes import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.peers import Peer
    from bench.processes import Running
    from bench.scenarios import Scenario

Row: TypeAlias = dict[str, str | float]
TIMEOUT_S = 120
WARM_UP = ("streams --streams 20 --gap 20 --ramp 0.2 --window 0.5 --limit 5", "rate --connections 8 --window 0.3")
FIRST_CALLS = "streams --streams 4 --chunks 5 --gap 20 --window 0.3 --limit 5"


def takes_part(peer: Peer, scenario: Scenario) -> bool:
    if scenario.only and scenario.only != peer.name:
        return False
    if scenario.fresh and not peer.command:
        return False
    if peer.openai and not scenario.chat:
        return False
    return not (peer.slow and scenario.many)


def is_once(peer: Peer, scenario: Scenario) -> bool:
    """Memory hardly varies; thousands of streams take long to open; what is many times as dear needs no median."""
    return scenario.fresh or scenario.many or peer.slow


def rig(running: Running, arguments: str, seed: int, owed: str = "") -> Row:
    """What the rig says of one run. Raises RuntimeError with its complaint if it did not run."""
    assert running.native is not None
    command = [str(running.native.rig), *arguments.split(), "--port", str(running.backend_port), "--seed", str(seed)]
    command += ["--label", running.peer.name]
    if running.process is not None:
        command += ["--target", f"127.0.0.1:{running.port}", "--pid", str(running.process.pid)]
    if running.peer.openai:
        command += ["--openai"]
    if running.peer.tracks and owed:
        command += ["--expect", owed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{running.peer.name}: {done.stderr.strip()}")
    return cast("Row", json.loads(done.stdout))


def warm_up(running: Running) -> None:
    """Caches, pools and just-in-time compilers."""
    if running.process is None:
        return
    for arguments in WARM_UP[: 1 if running.peer.openai else None]:
        rig(running, arguments, seed=0)


def run(everyone: Sequence[Running], scenarios: Sequence[Scenario], rounds: int, seed: int) -> Iterator[Row]:
    """Every scenario with every peer, round after round. A run that fails is told on stderr and left out."""
    for number in range(rounds):
        for scenario in scenarios:
            for running in everyone:
                if not takes_part(running.peer, scenario) or (number and is_once(running.peer, scenario)):
                    continue
                try:
                    row = run_once(running, scenario, seed + number)
                except (RuntimeError, StartError, subprocess.TimeoutExpired) as error:
                    print(f"  left out: {scenario.name}: {error}", file=sys.stderr)
                    continue
                yield {**row, "peer": running.peer.name, "scenario": scenario.name, "round": number}


def run_once(running: Running, scenario: Scenario, seed: int) -> Row:
    # What a tracking proxy still owes for the last run's clients, to a backend that is gone, is none of this run's.
    if running.process is not None and (scenario.fresh or running.peer.tracks or not running.is_alive()):
        running.stop()
        running.start()
        if scenario.fresh:
            rig(running, FIRST_CALLS, seed=0)
        else:
            warm_up(running)
    running.thaw()
    try:
        return rig(running, scenario.arguments, seed, scenario.owed)
    finally:
        running.freeze()
