"""What every exchange shares: the parts behind it, joined by `app`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.downstream.quota import Quota
from sidecar.downstream.tally import ExchangeObserver, Unobserved
from sidecar.downstream.waste import Waste

if TYPE_CHECKING:
    from sidecar.config import Settings
    from sidecar.downstream.delivery import DeliveryWatch
    from sidecar.downstream.principal import PrincipalHash
    from sidecar.downstream.watch import DisconnectWatch
    from sidecar.engine.cancellation import CancelDesk
    from sidecar.engine.driver import Driver
    from sidecar.engine.gate import Gate
    from sidecar.engine.late_content import LateContent
    from sidecar.engine.ports import AdminApi, Clock
    from sidecar.engine.tombstones import Tombstones
    from sidecar.telemetry.spans import Tracer
    from sidecar.upstream.pool import UpstreamPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The downstream side's surroundings."""

    settings: Settings
    clock: Clock
    pool: UpstreamPool
    admin: AdminApi
    driver: Driver
    desk: CancelDesk
    tombstones: Tombstones
    gate: Gate
    late: LateContent
    principals: PrincipalHash
    watch: DisconnectWatch
    delivery: DeliveryWatch
    waste: Waste = field(default_factory=Waste)
    quota: Quota = field(default_factory=Quota)
    observer: ExchangeObserver = field(default_factory=Unobserved)
    tracer: Tracer | None = None
    """Begins spans, where traces are wanted."""
    draining: set[object] = field(default_factory=set)
    """The exchanges whose abandoned answers are being read on; `upstream.drain.streams_max` bounds their number."""
