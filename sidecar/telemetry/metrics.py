"""The figures of one process, in a registry of their own. docs/METRICS.md shows where in a turn's life each stands.

They are told by the engine, the journal and the downstream side through small ports, at the end of a turn, a step, an
exchange or a commit: never for a chunk. What is only a size at some moment is asked for when the figures are read.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from sidecar.telemetry.savings import Savings
from sidecar.telemetry.waste import WasteCollector
from sidecar.turn.state import SETTLED, StepState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Metric

    from sidecar.telemetry.waste import Wasted
    from sidecar.turn.state import StepKind, Turn

MetricT = TypeVar("MetricT", Counter, Histogram)

PROMPT_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
"""For what happens at once, or within a drain."""
DELAYED_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0)
"""For what an outage may delay."""
ANSWER_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
"""For what a language model takes its time with."""
GROUP: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
NO_CAUSE: Final = "none"
LEFT: Final = 499
_NAMED: Final = frozenset({LEFT})


class Metrics:
    """Counts and measures. Implements the engine's TurnObserver, the journal's and the exchanges' observers."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)
        self._savings = Savings()
        self._children: dict[tuple[object, tuple[str, ...]], Any] = {}

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"sidecar_{name}", what, labels, registry=registry)

        def histogram(name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"sidecar_{name}", what, labels, buckets=buckets, registry=registry)

        self._opened = counter("turns_opened", "Turns that were journalled.", "route")
        self._cancelled = counter("turns_cancelled", "Turns whose undoing began.", "route", "cause")
        self._settled = counter("turns_settled", "Turns for which nothing is owed any more.", "route", "cause", "state")
        self._began = histogram("answer_begin_seconds", "From a turn's start to its answer's head.", ANSWER_S, "route")
        self._answered = histogram("answer_seconds", "From a turn's start to its answer's end.", ANSWER_S, "route")
        self._closed = histogram(
            "upstream_close_seconds", "From a cancel's cause to the upstream's connection closed.", PROMPT_S
        )
        self._undone = histogram("undo_seconds", "From a cancel's cause to a step delivered.", DELAYED_S, "step")
        self._attempts = counter("step_attempts", "Attempts at owed steps, by what they came to.", "step", "result")
        self._saved = counter(
            "saved_seconds_estimate",
            "What answers that were cut off would have taken on, by their route's mean.",
            "route",
        )
        self._exchanges = counter("exchanges", "Exchanges that ended, by status class; 499: the client left.", "status")
        self._failures = counter("relay_errors", "Exchanges that ended in an error of ours to the client.", "kind")
        self._uninspected = counter(
            "bodies_not_inspected", "Chat requests whose bodies were too long to be looked into for ids.", "route"
        )
        self._commits = histogram("journal_commit_seconds", "The time of a transaction of the journal.", PROMPT_S)
        self._group = histogram("journal_commit_changes", "Changes in a transaction of the journal.", GROUP)
        self._refused = counter("journal_failures", "Changes that the journal could not take.")
        build = Gauge("sidecar_build_info", "Always 1.", ("version", "python"), registry=registry)
        build.labels(version("cancel-sidecar"), platform.python_version()).set(1)
        ProcessCollector(registry=registry)

    def watch(self, sizes: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        """Have sizes asked for whenever the figures are read: by name, what each is and who tells it."""
        for name, (what, size) in sizes.items():
            Gauge(f"sidecar_{name}", what, registry=self.registry).set_function(size)

    def watch_waste(self, sums: Mapping[tuple[str, str], Wasted]) -> None:
        """Have what was generated for nobody asked for whenever the figures are read; by route and cause."""
        self.registry.register(WasteCollector(sums))

    async def families(self) -> Iterable[Metric]:
        """Give all figures as they are now."""
        return tuple(self.registry.collect())

    def _at(self, metric: MetricT, *labels: str) -> MetricT:
        """Give a metric's child. The library's own look-up takes longer than the counting does."""
        key = (metric, labels)
        child: MetricT | None = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    # -- turns and steps (the engine's TurnObserver) ---------------------------------------------------------------

    def turn_opened(self, turn: Turn) -> None:
        """Count a turn that was journalled."""
        self._at(self._opened, turn.route).inc()

    def turn_moved(self, before: Turn, after: Turn) -> None:
        """Count what has just become true of a turn."""
        cause = after.cause or NO_CAUSE
        if before.answer_began_at is None and after.answer_began_at is not None:
            self._at(self._began, after.route).observe(after.answer_began_at - after.created_at)
        if before.answered_at is None and after.answered_at is not None:
            self._at(self._answered, after.route).observe(after.answered_at - after.created_at)
            self._savings.completed(after.route, after.answered_at - after.created_at)
        if before.cancelled_at is None and after.cancelled_at is not None:
            self._at(self._cancelled, after.route, cause).inc()
        if after.state in SETTLED and before.state is not after.state:
            self._at(self._settled, after.route, cause, after.state).inc()

    def upstream_closed(self, turn: Turn, *, at: float) -> None:
        """Measure how long a cancel took to reach the upstream's connection, and what it saved there."""
        if turn.cancelled_at is None:
            return
        self._closed.observe(max(0.0, at - turn.cancelled_at))
        if turn.answered_at is None:
            self._at(self._saved, turn.route).inc(self._savings.rest_s(turn.route, at - turn.created_at))

    def step_ended(self, turn: Turn, kind: StepKind, state: StepState, *, at: float) -> None:
        """Count an attempt at a step; `state` is what the step then is: pending means that it failed."""
        result = "failed" if state is StepState.PENDING else state.value
        self._at(self._attempts, kind, result).inc()
        if state is StepState.DELIVERED and turn.cancelled_at is not None:
            self._at(self._undone, kind).observe(max(0.0, at - turn.cancelled_at))

    # -- exchanges and the journal ---------------------------------------------------------------------------------

    def exchange_ended(self, status: int, failure: str | None) -> None:
        """Count an exchange by its status (0: none was sent), and by the code of what failed."""
        self._at(self._exchanges, _status_class(status)).inc()
        if failure is not None:
            self._at(self._failures, failure).inc()

    def body_not_inspected(self, route: str) -> None:
        """Count a chat request whose body was too long to be looked into."""
        self._at(self._uninspected, route).inc()

    def committed(self, changes: int, seconds: float) -> None:
        """Measure a transaction that became durable."""
        self._group.observe(changes)
        self._commits.observe(seconds)

    def refused(self, changes: int) -> None:
        """Count changes that the journal could not take."""
        self._refused.inc(changes)


def _status_class(status: int) -> str:
    if status in _NAMED:
        return str(status)
    return f"{status // 100}xx" if status else "none"
