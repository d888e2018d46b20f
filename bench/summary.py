"""From rows to figures: medians of the rounds, and ratios taken within a round, where the noise was the same."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.measure import Row
    from bench.scenarios import Scenario

COST = "cpu_us_per_unit"
ENDS = "ends_us_per_unit"
BUSY_PCT = 85.0  # of a core: from here on a thread is what limits


@dataclass(frozen=True)
class Results:
    """Rows of the rig, by scenario and peer."""

    rows: dict[tuple[str, str], list[Row]]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Results:
        sorted_rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            sorted_rows[str(row["scenario"]), str(row["peer"])].append(row)
        return cls(dict(sorted_rows))

    def peers(self, scenario: Scenario) -> list[str]:
        return [peer for name, peer in self.rows if name == scenario.name]

    def figures(self, scenario: Scenario, peer: str, key: str) -> list[float]:
        """What was measured in each round; -1 stands for nothing to measure."""
        rows = self.rows.get((scenario.name, peer), [])
        return [value for row in rows if (value := float(row.get(key, -1))) >= 0]

    def figure(self, scenario: Scenario, peer: str, key: str) -> float | None:
        figures = self.figures(scenario, peer, key)
        return median(figures) if figures else None

    def total(self, scenario: Scenario, peer: str, key: str) -> int:
        return int(sum(self.figures(scenario, peer, key)))

    def ratio(self, scenario: Scenario, peer: str, reference: str, key: str = COST) -> float | None:
        """The median of the rounds' ratios. None where either was not measured."""
        references = {row["round"]: row for row in self.rows.get((scenario.name, reference), [])}
        ratios = [
            mine / theirs
            for row in self.rows.get((scenario.name, peer), [])
            if (other := references.get(row["round"])) is not None
            and (mine := scaled(scenario, row, key)) > 0
            and (theirs := scaled(scenario, other, key)) > 0
        ]
        return median(ratios) if ratios else None

    def limits(self, scenario: Scenario, peer: str) -> str:
        """Who had no more to give: "load", "backend", "proxy", or nobody (empty)."""
        for name, key in (("load", "load_pct"), ("backend", "backend_pct"), ("proxy", "cpu_pct")):
            if (self.figure(scenario, peer, key) or 0) > BUSY_PCT:
                return name
        return ""


def scaled(scenario: Scenario, row: Row, key: str) -> float:
    """CPU under paced load in units of what the two ends' own, equal work cost in the same run."""
    value, ends = float(row.get(key, -1)), float(row.get(ENDS, -1))
    return value / ends if scenario.paced and key == COST and ends > 0 else value
