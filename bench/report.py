"""What is written: results.json (every run), README.md (tables), and plots."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from bench import goals, plot
from bench.peers import DIRECT, FLOOR, REFERENCE, SIDECAR
from bench.scenarios import SCENARIOS, Scenario
from bench.summary import COST, Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bench.measure import Row

WITH_DIGITS = 1000  # below this, a figure's fraction says something
LATENCIES = ("latency_p50_us", "latency_p99_us", "latency_p999_us")
DEPARTURES = ("closed", "cancelled", "rolled_back")
DAMAGE = ("lost_chunks", "misplaced_chunks", "changed_chunks")
Columns: TypeAlias = tuple[tuple[str, ...], Callable[[str], tuple[str, ...]]]  # heads, and a peer's cells
PLOTTED_PEERS = (FLOOR, REFERENCE, SIDECAR, "haproxy", "caddy", "envoy", "aiohttp-uvloop")


def write(measured: dict[str, Any], out: Path) -> None:
    """Write everything into a folder. `measured`: machine, at, rows."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    results = Results.of(measured["rows"])
    plots = dict(draw(results))
    for name, svg in plots.items():
        (out / name).write_text(svg, encoding="utf-8")
    (out / "README.md").write_text(
        "\n".join(page(measured, results, plots, noted=(out / "NOTES.md").exists())) + "\n", encoding="utf-8"
    )


def line(row: Row) -> str:
    """One run, for who watches."""
    return (
        f"  {row['round']} {row['scenario']:<13} {row['peer']:<16} {float(row[COST]):8.1f} us a unit, "
        f"{float(row['units']):.0f} units, others {float(row['others_pct']):.0f} % {row['first_error']}"
    )


def page(measured: dict[str, Any], results: Results, plots: Iterable[str], *, noted: bool) -> Iterable[str]:
    yield from (
        "# Benchmarks",
        "",
        "Made by `python -m bench`; do not edit. What the words mean: [bench](../../bench/README.md).",
        "",
    )
    yield f"Measured on {measured['at']}, on a machine that was doing other things too (see *others* in results.json):"
    yield from ("", *(f"- {name}: {value}" for name, value in measured["machine"].items()), "")
    if noted:
        yield from ("What came of it, and why so: [notes](NOTES.md).", "")
    yield from ("## Goals", "", *goals.table(results), "")
    for name in plots:
        yield from (f"![{name}]({name})", "")
    for scenario in SCENARIOS:
        if results.peers(scenario):
            yield from (f"## {scenario.name}: {scenario.title}", "", f"`rig {scenario.arguments}`", "")
            yield from (*table(results, scenario), "")


def table(results: Results, scenario: Scenario) -> Iterable[str]:
    kind = scenario.arguments.partition(" ")[0]
    extra = {"streams": streams, "cancel": cancels, "idle": idles}.get(kind, rates)
    heads, cells = extra(results, scenario)
    fixed = () if kind in {"cancel", "idle"} else (f"CPU us/{scenario.unit}", f"x {FLOOR}", f"x {REFERENCE}")
    yield from rows_of(
        ("", *fixed, *heads),
        ((peer, *(cost(results, scenario, peer) if fixed else ()), *cells(peer)) for peer in results.peers(scenario)),
    )


def rows_of(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join(['---', *['--:'] * (len(heads) - 1)])}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def cost(results: Results, scenario: Scenario, peer: str) -> tuple[str, str, str]:
    to_floor, to_reference = (results.ratio(scenario, peer, reference) for reference in (FLOOR, REFERENCE))
    return number(results.figure(scenario, peer, COST)), number(to_floor, 2), number(to_reference, 2)


def number(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if abs(value) < WITH_DIGITS else f"{value:,.0f}"


def rates(results: Results, scenario: Scenario) -> Columns:
    per_s = "mb_per_s" if scenario.unit == "MB" else "per_s"
    keys = () if scenario.unit == "MB" else LATENCIES[:2]

    def cells(peer: str) -> tuple[str, ...]:
        figures = (number(results.figure(scenario, peer, key), 0) for key in (per_s, *keys))
        return *figures, str(results.total(scenario, peer, "errors")), results.limits(scenario, peer)

    return (f"{scenario.unit}/s", *("p50 us", "p99 us")[: len(keys)], "errors", "limited by"), cells


def streams(results: Results, scenario: Scenario) -> Columns:
    def added(peer: str, key: str) -> str:
        mine, direct = results.figure(scenario, peer, key), results.figure(scenario, DIRECT, key)
        return "-" if mine is None or direct is None else number(mine - direct, 0)

    def cells(peer: str) -> tuple[str, ...]:
        damage = "/".join(str(results.total(scenario, peer, key)) for key in DAMAGE)
        rate = number(results.figure(scenario, peer, "per_s"), 0)
        return rate, *(added(peer, key) for key in LATENCIES), damage, results.limits(scenario, peer)

    return ("chunks/s", "+p50 us", "+p99 us", "+p99.9 us", "lost/misplaced/changed", "limited by"), cells


def cancels(results: Results, scenario: Scenario) -> Columns:
    def pair(peer: str, what: str) -> str:
        return " / ".join(number(results.figure(scenario, peer, f"{what}_{mark}_us"), 0) for mark in ("p50", "p99"))

    def cells(peer: str) -> tuple[str, ...]:
        counts = (results.total(scenario, peer, key) for key in ("left", "never_seen", "wasted_bytes"))
        missing = results.total(scenario, peer, "cancel_missing") + results.total(scenario, peer, "rollback_missing")
        doubled = results.total(scenario, peer, "doubled")
        return *(pair(peer, what) for what in DEPARTURES), *map(str, (*counts, missing, doubled))

    heads = ("upstream closed p50/p99 us", "cancel call", "rollback call", "left", "never seen", "bytes wasted")
    return (*heads, "calls missing", "doubled"), cells


def idles(results: Results, scenario: Scenario) -> Columns:
    def cells(peer: str) -> tuple[str, ...]:
        figures = ("rss_kb_per_stream", "reached_backend", "cpu_pct", "left_open_after_1s")
        ratio = results.ratio(scenario, peer, REFERENCE, "rss_kb_per_stream")
        return *(number(results.figure(scenario, peer, key)) for key in figures), number(ratio, 2)

    return ("KiB/stream", "reached the backend", "CPU % while idle", "still open after 1 s", f"x {REFERENCE}"), cells


def draw(results: Results) -> Iterable[tuple[str, str]]:
    """File names and plots, of what was measured."""
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    for name, key, figure in (
        ("streams-200", COST, plot.Figure("CPU per chunk at 200 streams", "us")),
        ("small", COST, plot.Figure("CPU per small request", "us")),
        ("turns", COST, plot.Figure("CPU per chat turn of 5 chunks", "us")),
        ("cancel-mid", "closed_p99_us", plot.Figure("From the client's close to the upstream's, p99", "us")),
        ("idle-think", "rss_kb_per_stream", plot.Figure("Memory per waiting stream", "KiB")),
    ):
        scenario = by_name[name]
        figures = {peer: results.figure(scenario, peer, key) for peer in results.peers(scenario)}
        values = {peer: value for peer, value in figures.items() if value is not None}
        if values:
            yield f"{name}.svg", plot.bars(figure, values, SIDECAR)
    yield from draw_growth(results, [by_name[name] for name in goals.PACED])


def draw_growth(results: Results, paced: Sequence[Scenario]) -> Iterable[tuple[str, str]]:
    series = {peer: [results.figure(scenario, peer, COST) for scenario in paced] for peer in PLOTTED_PEERS}
    measured = {peer: values for peer, values in series.items() if any(value is not None for value in values)}
    at = [float(scenario.name.partition("-")[2]) for scenario in paced]
    if measured:
        yield "growth.svg", plot.lines(plot.Figure("CPU per chunk by streams", "us"), at, measured, SIDECAR)
