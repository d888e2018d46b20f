"""A turn takes a kept connection of the upstream's only where that is no worse for it than a new one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from sidecar.upstream import pool as pool_module
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.pool import UpstreamPool
from tests.fakes.scene import scene
from tests.fakes.waiting import eventually
from tests.integration.chat.talk import CHUNKED, END, PLAIN, begin, chunk, head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.scene import Scene
    from tests.integration.chat.talk import Talk

ANSWER = (head(PLAIN, CHUNKED), chunk(b"hi"), END)


@pytest.fixture(autouse=True)
def _a_moment_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a busy machine makes of the time: a connection that was kept was in use a moment ago."""
    monkeypatch.setattr(pool_module, "LATELY_S", math.inf)


async def turn_after(first: Talk) -> Talk:
    await first.peer.send(*ANSWER)
    assert (await first.client.answer()).body == b"hi"
    return await begin(first.running, request_id="r2")


async def test_one_that_was_in_use_a_moment_ago_serves_the_next_turn(running: Scene) -> None:
    first = await begin(running)
    second = await turn_after(first)
    assert second.peer is first.peer
    await second.peer.send(*ANSWER)
    assert (await second.client.answer()).body == b"hi"


async def test_one_that_was_idle_for_longer_does_not(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "LATELY_S", -1.0)
    first = await begin(running)
    second = await turn_after(first)
    assert second.peer is not first.peer
    assert running.sidecar.edge.pool.idle_count == 1


@pytest.mark.parametrize("how", ["closed", "talkative"])
async def test_one_that_is_not_quiet_does_not(running: Scene, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """What nobody asked for would be the answer to somebody's question."""
    first = await begin(running)
    check_out = UpstreamPool.check_out_as_new

    def not_quiet_any_more(pool: UpstreamPool) -> UpstreamConnection | None:
        first.peer.close() if how == "closed" else first.peer.send_now(b"HTTP/1.1 200 OK\r\n\r\nstolen")
        return check_out(pool)

    monkeypatch.setattr(UpstreamPool, "check_out_as_new", not_quiet_any_more)
    second = await turn_after(first)
    assert second.peer is not first.peer
    await second.peer.send(*ANSWER)
    assert (await second.client.answer()).body == b"hi"


async def test_one_that_closes_under_the_question_costs_nothing(
    running: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was found open, and closed before it heard a byte: the turn is sent again, and is the same turn."""
    first = await begin(running)
    check_out = UpstreamPool.check_out_as_new

    def closed_too_late(pool: UpstreamPool) -> UpstreamConnection | None:
        connection = check_out(pool)
        first.peer.close()
        return connection

    monkeypatch.setattr(UpstreamPool, "check_out_as_new", closed_too_late)
    second = await turn_after(first)
    assert second.peer is not first.peer
    assert second.request.get("X-Request-Id") == b"r2"
    await second.peer.send(*ANSWER)
    assert (await second.client.answer()).body == b"hi"
    await eventually(lambda: [turn["state"] for turn in running.turns()] == ["completed"] * 2)
    assert running.admin.calls == []


async def test_one_that_closes_unheard_when_the_client_is_gone_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is there to send it again for: the turn must not wait for an answer that will never come."""
    async with scene(tmp_path, chat={"on": {"closed": "complete"}}) as running:
        second = await turn_after(await begin(running))
        second.client.close()
        line = await running.exchange_line(1)
        assert line["status"] == 499
        monkeypatch.setattr(UpstreamConnection, "unheard", True)
        second.peer.close()
        await eventually(lambda: running.turns()[1]["state"] == "unresolved")  # as no id was ever told
        assert running.turns()[1]["cause"] == "upstream_failed"
