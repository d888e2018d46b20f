"""The main job, judged by the backend's own database: what was abandoned is gone, what was read to its end is kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.crowd import Way, all_chat, crowd

if TYPE_CHECKING:
    from sidecar.demo.backend import LegacyBackend
    from tests.acceptance.process import SidecarProcess

SETTLE_S = 60


@pytest.mark.timeout(120)
async def test_of_500_streams_only_those_read_to_their_end_are_kept(
    backend: LegacyBackend, sidecar: SidecarProcess
) -> None:
    clients = crowd(500, seed=1)

    await all_chat(clients, sidecar.port, ramp_s=2)
    states = await sidecar.until_settled(SETTLE_S)
    stayed = {client.request_id for client in clients if client.way is Way.STAYS}
    left = {client.request_id for client in clients} - stayed
    await backend.until(lambda: backend.quiet, SETTLE_S)

    assert {client.request_id for client in clients if client.complete} == stayed
    assert {request_id for kept in backend.kept() for request_id in kept.request_ids} == stayed
    assert {states[request_id] for request_id in stayed} == {"completed"}
    assert {states[request_id] for request_id in left & set(states)} == {"cancelled"}
    assert set(backend.questions) <= set(states), "the backend heard of a turn that was not journalled"
    for client in clients:
        if client.request_id in left & set(backend.generations):
            record = backend.generations[client.request_id]
            assert record.cancelled
            assert not record.finished
            assert record.connection_closed_at is not None or "silent" in client.way, "it went on to an open connection"
    assert set(backend.effects.values()) == {1}, "an effect was had twice"


@pytest.mark.timeout(150)
@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_amid_them_it_loses_none(backend: LegacyBackend, sidecar: SidecarProcess, seed: int) -> None:
    clients = crowd(300, seed=100 + seed)
    chatting = asyncio.ensure_future(all_chat(clients, sidecar.port, ramp_s=2))
    await backend.until(lambda: len(backend.effects) > 20 * seed, SETTLE_S)

    await sidecar.kill()
    await chatting
    await sidecar.start()
    states = await sidecar.until_settled(SETTLE_S)
    await backend.until(lambda: backend.quiet, SETTLE_S)

    completed = {request_id for request_id, state in states.items() if state == "completed"}
    assert {request_id for kept in backend.kept() for request_id in kept.request_ids} == completed
    assert {client.request_id for client in clients if client.complete} <= completed
    assert set(backend.questions) <= set(states), "the backend heard of a turn that was not journalled"
    assert set(states.values()) <= {"completed", "cancelled"}
    assert set(backend.effects.values()) == {1}, "an effect was had twice"
