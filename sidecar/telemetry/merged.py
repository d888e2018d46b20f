"""The figures of several processes as one: counts and sizes are added up. Pure, but for what it remembers.

A process that ended takes no counts with it: a counter that fell would look as if it had begun anew. What it counted
since it was last asked is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from prometheus_client.metrics_core import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client.samples import Sample

    Families: TypeAlias = Sequence[Metric]
    Combine: TypeAlias = Callable[[float, float], float]

_ALIKE: Final[Mapping[str, Combine]] = {
    "sidecar_build_info": max,
    "process_start_time_seconds": min,
    "process_max_fds": min,
}
_GROWING: Final = frozenset({"counter", "histogram", "summary"})


def merged(processes: Iterable[Families]) -> Families:
    """Add up the figures of several processes."""
    families: dict[str, Metric] = {}
    samples: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], Sample]] = {}
    for metric in (metric for process in processes for metric in process):
        families.setdefault(metric.name, metric)
        known = samples.setdefault(metric.name, {})
        for sample in metric.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            known[key] = _added(known.get(key), sample)
    return [_with_samples(metric, samples[name].values()) for name, metric in families.items()]


class Remembered:
    """The figures of processes that come and go under the same numbers; each incarnation has a pid of its own."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, Families]] = {}
        self._ended: Families = ()

    def take(self, number: int, pid: int, families: Families) -> None:
        """Take the figures of a process as they now are."""
        known = self._last.get(number)
        if known is not None and known[0] != pid:
            counts = [metric for metric in known[1] if metric.type in _GROWING]
            self._ended = merged([self._ended, counts])
        self._last[number] = (pid, families)

    def together(self) -> Families:
        """Give the figures of all, those that ended included."""
        return merged([self._ended, *(families for _, families in self._last.values())])


def _added(known: Sample | None, sample: Sample) -> Sample:
    if known is None:
        return sample
    combine = min if sample.name.endswith("_created") else _ALIKE.get(sample.name, float.__add__)
    return known._replace(value=combine(float(known.value), float(sample.value)))


def _with_samples(metric: Metric, samples: Iterable[Sample]) -> Metric:
    whole = Metric(metric.name, metric.documentation, metric.type, metric.unit)
    whole.samples = list(samples)
    return whole
