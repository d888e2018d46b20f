"""The figures as Prometheus reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from sidecar.console.ports import MetricsSource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry, Metric

METRICS: Final = web.AppKey("METRICS", MetricsSource)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Figures that were gathered already, in a registry's clothes."""

    gathered: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        """Give them."""
        return self.gathered


async def metrics(request: web.Request) -> web.Response:
    """Answer with all figures, in the form that the asker prefers: Prometheus' own, or OpenMetrics."""
    families = await request.app[METRICS].families()
    encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
    registry: CollectorRegistry = Gathered(families)  # type: ignore[assignment]  # an encoder wants no more of one
    return web.Response(body=encode(registry), headers={hdrs.CONTENT_TYPE: content_type})
