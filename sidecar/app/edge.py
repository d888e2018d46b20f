"""Joins what the downstream side works with."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sidecar.downstream.delivery import DeliveryWatch
from sidecar.downstream.edge import Edge
from sidecar.downstream.principal import PrincipalHash
from sidecar.downstream.watch import DisconnectWatch
from sidecar.engine.cancellation import CancelDesk
from sidecar.engine.gate import Gate
from sidecar.engine.late_content import LateContent
from sidecar.engine.tombstones import Tombstones
from sidecar.upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from sidecar.config import Settings
    from sidecar.engine.driver import Driver
    from sidecar.engine.ports import AdminApi
    from sidecar.journal.store import SqliteJournal


async def downstream_edge(
    settings: Settings,
    journal: SqliteJournal,
    admin: AdminApi,
    driver: Driver,
    stack: AsyncExitStack,
) -> Edge:
    """Join what every exchange shares; what has to be closed is put on the stack."""
    loop, clock = asyncio.get_running_loop(), time.time
    tombstones = Tombstones(await journal.tombstones(now=clock()))
    late = LateContent(journal, driver)
    watch = DisconnectWatch()
    watch.start(loop)
    stack.callback(watch.close)
    delivery = DeliveryWatch(loop)
    stack.callback(delivery.close)
    return Edge(
        settings=settings,
        clock=clock,
        pool=UpstreamPool(settings.upstream),
        admin=admin,
        driver=driver,
        desk=cancel_desk(settings, journal, driver, tombstones),
        tombstones=tombstones,
        gate=Gate(journal, driver, tombstones, late),
        late=late,
        principals=PrincipalHash(journal.principal_key),
        watch=watch,
        delivery=delivery,
    )


def cancel_desk(settings: Settings, journal: SqliteJournal, driver: Driver, tombstones: Tombstones) -> CancelDesk:
    """Make the desk that takes in requests to cancel, as these settings have it."""
    return CancelDesk(
        journal,
        driver,
        tombstones,
        time.time,
        tombstone_ttl_s=settings.journal.tombstone_ttl_s,
        tombstones_max=settings.journal.tombstones_per_principal_max,
    )
