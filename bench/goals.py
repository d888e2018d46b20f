"""The goals, each as a ratio within one run, and whether it was met."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.peers import DIRECT, FLOOR, REFERENCE, SIDECAR
from bench.scenarios import SCENARIOS
from bench.summary import COST, Results

if TYPE_CHECKING:
    from collections.abc import Iterable

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
PACED = ("streams-200", "streams-1000", "streams-5000", "streams-10000")
LEAVING = ("cancel-think", "cancel-mid", "cancel-reset", "cancel-stall", "cancel-any")
DAMAGE = ("lost_chunks", "misplaced_chunks", "changed_chunks")
Verdict = tuple[str, float | None, float]  # what it is, what was measured, what it may be at most


def table(results: Results) -> Iterable[str]:
    """A Markdown table, one goal a line; what was not measured is left out."""
    yield from ("| figure | goal | measured | |", "|---|--:|--:|---|")
    for what, measured, most in verdicts(results):
        if measured is not None:
            yield f"| {what} | <= {most:g} | {measured:.2f} | {'met' if measured <= most else '**missed**'} |"


def verdicts(results: Results) -> Iterable[Verdict]:
    for name in PACED:
        yield f"CPU per chunk, {name}, x nginx", ratio(results, name, REFERENCE), 1.15
        yield f"CPU per chunk, {name}, x floor", ratio(results, name, FLOOR), 1.35
    yield "CPU per chunk at 10,000 streams, x at 200", growth(results), 1.3
    yield "CPU per small request, x nginx", ratio(results, "small", REFERENCE), 3
    yield "CPU of tracking a turn, us", tracking_us(results), 80
    for mark in ("p50", "p99"):
        yield f"latency added to a chunk at 200 streams, {mark}, x nginx", added(results, f"latency_{mark}_us"), 1
    yield from departures(results)
    yield "memory per waiting stream, x nginx", ratio(results, "idle-think", REFERENCE, "rss_kb_per_stream"), 1
    yield "memory per stream in mid-answer, x nginx", ratio(results, "idle-mid", REFERENCE, "rss_kb_per_stream"), 1
    for name in ("bulk-down", "bulk-up"):
        yield f"CPU per MB, {name}, x nginx", ratio(results, name, REFERENCE), 1
        yield f"nginx's MB/s over ours, {name}", inverse(ratio(results, name, REFERENCE, "mb_per_s")), 1
    yield "chunks lost, misplaced or changed", damage(results), 0


def departures(results: Results) -> Iterable[Verdict]:
    for name in LEAVING:
        for mark in ("p50", "p99"):
            key = f"closed_{mark}_us"
            yield f"close to upstream closed, {name}, {mark}, x nginx", ratio(results, name, REFERENCE, key), 1.2
        for what, p50_ms, p99_ms in (("cancelled", 1.5, 10), ("rolled_back", 3, 20)):
            yield f"close to {what}, {name}, p50 ms", ms(results, name, f"{what}_p50_us"), p50_ms
            yield f"close to {what}, {name}, p99 ms", ms(results, name, f"{what}_p99_us"), p99_ms
        yield f"departures never seen, {name}", total(results, name, "never_seen"), 0


def ratio(results: Results, name: str, reference: str, key: str = COST) -> float | None:
    return results.ratio(BY_NAME[name], SIDECAR, reference, key)


def inverse(value: float | None) -> float | None:
    return 1 / value if value else None


def growth(results: Results) -> float | None:
    most, few = (results.figure(BY_NAME[name], SIDECAR, COST) for name in ("streams-10000", "streams-200"))
    return most / few if most and few else None


def tracking_us(results: Results) -> float | None:
    tracked, plain = (results.figure(BY_NAME[name], SIDECAR, COST) for name in ("turns", "turns-plain"))
    return tracked - plain if tracked and plain else None


def added(results: Results, key: str) -> float | None:
    mine, theirs, direct = (results.figure(BY_NAME["streams-200"], peer, key) for peer in (SIDECAR, REFERENCE, DIRECT))
    if mine is None or theirs is None or direct is None or theirs <= direct:
        return None
    return (mine - direct) / (theirs - direct)


def ms(results: Results, name: str, key: str) -> float | None:
    value = results.figure(BY_NAME[name], SIDECAR, key)
    return None if value is None else value / 1000


def total(results: Results, name: str, key: str) -> float | None:
    figures = results.figures(BY_NAME[name], SIDECAR, key)
    return sum(figures) if figures else None


def damage(results: Results) -> float | None:
    counts = [total(results, scenario.name, key) for scenario in SCENARIOS for key in DAMAGE]
    return sum(count for count in counts if count is not None)
