"""What the bench makes of the rig's rows: medians, ratios within a round, and who was the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from bench import goals, plot, report
from bench.peers import FLOOR, REFERENCE, SIDECAR
from bench.scenarios import SCENARIOS, most_streams, streams
from bench.summary import Results

if TYPE_CHECKING:
    from pathlib import Path

    from bench.measure import Row

SMALL = next(scenario for scenario in SCENARIOS if scenario.name == "small")
PACED = streams(200, 1)


def row(peer: str, number: int, cost: float, *, scenario: str = "small", **rest: float) -> Row:
    return {"scenario": scenario, "peer": peer, "round": number, "cpu_us_per_unit": cost, "units": 10, **rest}


def test_a_ratio_is_the_median_of_ratios_within_rounds() -> None:
    rows = [row(SIDECAR, 0, 30), row(REFERENCE, 0, 10), row(SIDECAR, 1, 80), row(REFERENCE, 1, 40)]
    rows += [row(SIDECAR, 2, 10), row(REFERENCE, 2, 5), row(SIDECAR, 3, 1000)]
    assert Results.of(rows).ratio(SMALL, SIDECAR, REFERENCE) == 2, "3, 2, 2; the last round has no reference"


def test_under_paced_load_what_the_ends_cost_takes_the_noise_out() -> None:
    noisy = row(SIDECAR, 0, 60, scenario=PACED.name, ends_us_per_unit=40)
    quiet = row(REFERENCE, 0, 20, scenario=PACED.name, ends_us_per_unit=20)
    assert Results.of([noisy, quiet]).ratio(PACED, SIDECAR, REFERENCE) == pytest.approx(1.5)


def test_what_was_not_measured_has_no_figure() -> None:
    results = Results.of([row(SIDECAR, 0, -1)])
    assert results.figure(SMALL, SIDECAR, "cpu_us_per_unit") is None
    assert results.ratio(SMALL, SIDECAR, REFERENCE) is None


@pytest.mark.parametrize(
    ("pct", "limit"),
    [({"load_pct": 90.0}, "load"), ({"backend_pct": 99.0}, "backend"), ({"cpu_pct": 88.0}, "proxy"), ({}, "")],
)
def test_it_is_said_who_had_no_more_to_give(pct: dict[str, float], limit: str) -> None:
    assert Results.of([{**row(SIDECAR, 0, 1), **pct}]).limits(SMALL, SIDECAR) == limit


def test_more_streams_than_descriptors_allow_become_as_many_as_there_can_be() -> None:
    most = most_streams()
    assert f"--streams {most} " in streams(10 * most, 1).arguments
    assert f"{most:,} streams" in streams(10 * most, 1).title


def test_goals_are_met_or_missed() -> None:
    rows = [row(SIDECAR, 0, 40), row(REFERENCE, 0, 10), row(FLOOR, 0, 10)]
    assert any(line.endswith("| <= 3 | 4.00 | **missed** |") for line in goals.table(Results.of(rows)))
    rows = [row(SIDECAR, 0, 20), row(REFERENCE, 0, 10)]
    assert any(line.endswith("| <= 3 | 2.00 | met |") for line in goals.table(Results.of(rows)))


def test_the_report_names_the_machine_and_shows_what_was_measured(tmp_path: Path) -> None:
    rows = [row(SIDECAR, 0, 20, errors=0, per_s=100), row(REFERENCE, 0, 10, errors=0, per_s=200)]
    report.write({"machine": {"processor": "an abacus"}, "at": "noon", "rows": rows}, tmp_path)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "an abacus" in page
    assert "| sidecar | 20.0 | - | 2.00 | 100 |" in page
    assert "streams-200" not in page, "it was not measured"
    assert ET.fromstring((tmp_path / "small.svg").read_text(encoding="utf-8")).tag.endswith("svg")  # noqa: S314  (ours)


def test_a_line_leaves_out_what_is_missing() -> None:
    svg = plot.lines(plot.Figure("a & b", "us"), [200, 1000], {"one": [1.0, None], "none": [None, None]}, "one")
    texts = [each.text for each in ET.fromstring(svg).iter() if each.text]  # noqa: S314  (ours)
    assert "one" in texts
    assert "none" not in texts
