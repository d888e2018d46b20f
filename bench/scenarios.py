"""What is run. A scenario is a call of the rig, the unit its CPU is divided by, and what of it is worth a column.

Paced streams are offered the same 4,000 chunks a second at every number of streams: a proxy's cost per chunk falls as
its load rises (more events a wake-up), so only figures of one load may be compared.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

OFFERED_PER_S = 4000
SIZES = "16-200"  # of a chunk, bytes
DEPARTURES = 400
DEPARTURES_PER_S = 200  # what the goals name: as many come as go, each staying for a second at the most
SPARE_DESCRIPTORS = 200
MANY = 1000  # streams, beyond which slow peers take no part


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`paced`: the offered work is the same for every peer, so what the ends spent on it scales the noise out."""

    name: str
    title: str
    unit: str
    arguments: str
    paced: bool = False
    many: bool = False  # only for peers that can
    fresh: bool = False  # a new process for each run: what is measured is memory
    only: str = ""  # one peer's scenario
    chat: bool = False  # can be asked of peers that speak the OpenAI protocol only
    owed: str = ""  # the admin calls that a tracking proxy has to make


def most_streams() -> int:
    """A stream takes two descriptors, in a proxy as in the rig."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_DESCRIPTORS) // 2


def streams(count: int, window_s: float) -> Scenario:
    """`count` paced streams, or as many as the limit of descriptors lets one process have."""
    possible = min(count, most_streams())
    gap_ms = possible * 1000 / OFFERED_PER_S
    return Scenario(
        name=f"streams-{count}",
        title=f"{possible:,} streams, {OFFERED_PER_S:,} chunks of {SIZES} bytes a second",
        unit="chunk",
        arguments=f"streams --streams {possible} --gap {gap_ms:g} --size {SIZES} --window {window_s:g} "
        f"--ramp {max(1.0, possible / 200):g} --limit 80",
        paced=True,
        many=possible > MANY,
        chat=True,
    )


def cancel(name: str, title: str, arguments: str, owed: str) -> Scenario:
    return Scenario(
        name=f"cancel-{name}",
        title=title,
        unit="departure",
        arguments=f"cancel --streams {DEPARTURES} --ramp {DEPARTURES / DEPARTURES_PER_S:g} --size {SIZES} "
        f"--close-lo 0.2 --close-hi 1.2 {arguments}",
        owed=owed,
        chat=True,
    )


SCENARIOS = (
    Scenario(
        name="small",
        title="small requests, kept connections",
        unit="request",
        arguments="rate --connections 16 --window 3",
    ),
    Scenario(
        name="small-new",
        title="small requests, a connection each",
        unit="request",
        arguments="newconn --connections 8 --window 2",
    ),
    Scenario(
        name="turns",
        title="chat turns of 5 chunks, 64 at a time",
        unit="turn",
        arguments=f"turns --connections 64 --chunks 5 --gap 20 --size {SIZES} --window 3",
    ),
    Scenario(
        name="turns-plain",
        title="the same on a route that is not tracked",
        unit="turn",
        arguments=f"turns --connections 64 --chunks 5 --gap 20 --size {SIZES} --window 3 --path /plain/chat",
        only="sidecar",
    ),
    streams(200, 3),
    streams(1000, 3),
    streams(5000, 4),
    streams(10_000, 5),
    Scenario(
        name="bulk-down",
        title="answers as fast as they go",
        unit="MB",
        arguments="bulk --connections 2 --size 16384 --window 2",
    ),
    Scenario(
        name="bulk-up",
        title="uploads as fast as they go",
        unit="MB",
        arguments="upload --connections 2 --size 65536 --window 2",
    ),
    cancel("think", "clients leave before the answer begins", "--when think --existing", "cancel"),
    cancel("mid", "clients leave between two chunks", "--when mid --gap 50", "cancel,rollback"),
    cancel("reset", "clients leave by RST", "--when mid --gap 50 --how rst", "cancel,rollback"),
    cancel("stall", "clients leave while the backend is silent", "--when stall --gap 50", "cancel,rollback"),
    cancel(
        "any",
        "clients leave at any moment from their connecting on",
        "--when any --think 300 --gap 50 --chunks 20 --existing --close-lo 0 --close-hi 1.4",
        "cancel",
    ),
    Scenario(
        name="idle-think",
        title="2,000 streams that wait for their answer",
        unit="stream",
        arguments="idle --streams 2000 --when think --ramp 3 --window 1",
        fresh=True,
        chat=True,
    ),
    Scenario(
        name="idle-mid",
        title="2,000 streams that stopped in the middle",
        unit="stream",
        arguments=f"idle --streams 2000 --when stall --gap 20 --size {SIZES} --ramp 3 --window 1",
        fresh=True,
        chat=True,
    ),
    Scenario(
        name="idle-most",
        title=f"{most_streams():,} streams that wait for their answer",
        unit="stream",
        arguments=f"idle --streams {most_streams()} --when think --ramp 12 --window 1 --limit 40",
        fresh=True,
        many=True,
    ),
)


def chosen(names: list[str]) -> list[Scenario]:
    """The scenarios of these names, in the table's order. Raises KeyError for a name that is none."""
    known = {scenario.name: scenario for scenario in SCENARIOS}
    for name in names:
        if name not in known:
            raise KeyError(name)
    return [scenario for scenario in SCENARIOS if scenario.name in names]
