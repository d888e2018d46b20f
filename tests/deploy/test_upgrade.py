"""A restart behind nginx, its socket held as systemd holds it: nothing is lost, and nobody is turned away."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from tests.acceptance.process import SidecarProcess
from tests.deploy.departures import ASKED, PROTOCOLS, settled
from tests.deploy.fronts import Nginx
from tests.deploy.visitor import WAIT_S, Http2, Visitor, Visits
from tests.fakes.downstream import CHAT
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.demo.backend import LegacyBackend

WORDS = 30


async def asks(visits: Visits, protocol: type[Visitor], port: int, request_id: str) -> Visitor:
    visitor = await visits.begin(protocol, port)
    await visitor.post(f"{CHAT}?words={WORDS}&word_ms=50", request_id, ASKED)
    return visitor


async def reads(visitor: Visitor) -> int:
    assert await visitor.status() == 200
    return len((await visitor.rest()).split())


async def test_who_is_reading_reads_on_and_who_comes_waits(
    backend: LegacyBackend, visits: Visits, tmp_path: Path
) -> None:
    sidecar = SidecarProcess(tmp_path, backend.url, grace_s=WAIT_S)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as held:
        sidecar.sockets = {"clients": held}
        await sidecar.start()
        front = Nginx(tmp_path, held.getsockname()[1])
        async with front.running():
            there = [await asks(visits, protocol, front.port, f"there-{protocol.protocol}") for protocol in PROTOCOLS]
            await backend.until(lambda: len(backend.generations) == len(there), WAIT_S)
            stopping = asyncio.create_task(sidecar.terminate())
            await eventually(lambda: sidecar.log("stopping"), WAIT_S)
            late = await asks(visits, Http2, front.port, "late")
            assert [await reads(visitor) for visitor in there] == [WORDS] * len(there)
            assert await stopping == 0
            await sidecar.start()
            assert await reads(late) == WORDS
            states = await settled(sidecar)
        await sidecar.close()
    assert states == dict.fromkeys(["there-http/1.1", "there-h2", "late"], "completed")
    assert sorted(kept.words for kept in backend.kept()) == [WORDS] * 3
