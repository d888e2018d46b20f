"""The admin API down, then ill in every way: all that is owed is delivered in the end, and each effect is had once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.acceptance.crowd import Client, Way, all_chat
from tests.fakes.admin_faults import answering, dropping, hanging
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from sidecar.demo.backend import LegacyBackend
    from sidecar.demo.backend.admin import AdminFault
    from tests.acceptance.process import SidecarProcess

CLIENTS = 60
SETTLE_S = 60
CALLS_AN_ILLNESS = 40
ILLNESSES: dict[str, AdminFault] = {
    "down": dropping(),
    "500": answering(500),
    "429": answering(429, headers={"Retry-After": "1"}),
    "503 by date": answering(503, headers={"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}),
    "redirect": answering(302, headers={"Location": "/admin/elsewhere"}),
    "hanging": hanging(),
}


async def _garbage(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"\x00\xffSSH-2.0 this is no HTTP\r\n\r\n")
    request.transport.close()
    return web.Response()


@pytest.mark.timeout(120)
async def test_whatever_ails_the_admin_api_all_is_delivered_once(
    backend: LegacyBackend, sidecar: SidecarProcess
) -> None:
    clients = [Client(f"req_{number}", Way.RST_MID, leaves_after=2) for number in range(CLIENTS)]
    backend.admin_fault = dropping()
    await all_chat(clients, sidecar.port, ramp_s=0.5)

    for fault in (*ILLNESSES.values(), _garbage):
        backend.admin_fault = fault
        seen = len(backend.calls)
        await backend.until(lambda seen=seen: len(backend.calls) >= seen + CALLS_AN_ILLNESS, SETTLE_S)  # type: ignore[misc]
    backend.admin_fault, backend.admin_fault_after = None, _lost_at_first(dropping())
    states = await sidecar.until_settled(SETTLE_S)

    assert states == {client.request_id: "cancelled" for client in clients}
    assert backend.kept() == ()
    assert sorted(backend.effects.values()) == [1] * 2 * CLIENTS, "one stop and one deletion each"
    assert all(
        len({call.idempotency_key for call in backend.calls if call.path == path}) == 1 for path in _paths(backend)
    )
    assert "Traceback" not in sidecar.log_text()


@pytest.mark.timeout(60)
async def test_the_relay_goes_on_while_the_admin_api_hangs(backend: LegacyBackend, sidecar: SidecarProcess) -> None:
    backend.admin_fault = hanging()
    leavers = [Client(f"req_{number}", Way.FIN_MID, leaves_after=1) for number in range(150)]
    await all_chat(leavers, sidecar.port, ramp_s=0.5)
    await eventually(lambda: len(backend.calls) >= 64, SETTLE_S)

    stayers = [Client(f"req_stays_{number}", Way.STAYS, leaves_after=0) for number in range(20)]
    async with asyncio.timeout(10):
        await all_chat(stayers, sidecar.port, ramp_s=0)

    assert all(client.complete for client in stayers)
    backend.admin_fault = None
    states = await sidecar.until_settled(SETTLE_S)
    assert {states[client.request_id] for client in stayers} == {"completed"}
    assert {states[client.request_id] for client in leavers} == {"cancelled"}


def _lost_at_first(fault: AdminFault) -> AdminFault:
    """Have each path's first effect, but lose its answer."""
    seen: set[str] = set()

    async def lost(request: web.Request) -> web.StreamResponse | None:
        if request.path in seen:
            return None
        seen.add(request.path)
        return await fault(request)

    return lost


def _paths(backend: LegacyBackend) -> set[str]:
    return {call.path for call in backend.calls}
