"""No more connections than `connections_max`: who waits for one, what they get, and in which order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sidecar.errors import UpstreamBusyError, UpstreamUnreachableError
from tests.integration.upstream.scripted import ANSWER, Peer, ask, echo, pool_for, scripted, turns, until

if TYPE_CHECKING:
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.upstream.pool import UpstreamPool


async def waiting(pool: UpstreamPool, *, fresh: bool) -> asyncio.Task[UpstreamConnection]:
    """Have someone wait in line."""
    before = pool.waiting_count
    task = asyncio.create_task(pool.connect(fresh=fresh))
    await until(lambda: pool.waiting_count == before + 1)
    return task


async def test_one_too_many_is_busy() -> None:
    async with scripted(echo) as port, pool_for(port, connections_max=2, queue_timeout_s=0) as pool:
        taken = [await pool.connect(fresh=True) for _ in range(2)]
        with pytest.raises(UpstreamBusyError, match="no connection was free within 0 s"):
            await pool.connect(fresh=True)
        taken[0].abort()
        await taken[0].wait_lost()
        (await pool.connect(fresh=True)).abort()
        taken[1].abort()


async def test_0_is_no_limit() -> None:
    async with scripted(echo) as port, pool_for(port, connections_max=0) as pool:
        for connection in [await pool.connect(fresh=True) for _ in range(20)]:
            connection.abort()


async def test_a_kept_connection_goes_to_the_first_in_line() -> None:
    async with scripted(echo) as port, pool_for(port, connections_max=1, queue_timeout_s=60) as pool:
        only = await pool.connect(fresh=False)
        first, second = await waiting(pool, fresh=False), await waiting(pool, fresh=False)
        assert await ask(only).end() is None
        assert await first is only
        assert only.reused
        assert not second.done()
        assert await ask(only).end() is None
        assert await second is only
        assert await ask(only).end() is None
        assert pool.idle_count == 1


async def test_who_wants_a_new_connection_is_made_room_for() -> None:
    numbers: list[int] = []

    async def script(peer: Peer) -> None:
        numbers.append(peer.number)
        await echo(peer)

    async with scripted(script) as port, pool_for(port, connections_max=1, queue_timeout_s=60) as pool:
        only = await pool.connect(fresh=False)
        fresh, kept = await waiting(pool, fresh=True), await waiting(pool, fresh=False)
        assert await ask(only).end() is None  # nobody in front would have it
        another = await fresh
        assert another is not only
        assert await ask(another).end() is None
        assert await kept is another
        assert await ask(another).end() is None
        third = await pool.connect(fresh=True)  # in place of the idle one
        assert third is not another
        assert await ask(third).end() is None
        await until(lambda: numbers == [0, 1, 2])


async def test_a_connection_that_fails_gives_its_place_on() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset() if peer.number == 0 else await peer.send(ANSWER)

    async with scripted(script) as port, pool_for(port, connections_max=1, queue_timeout_s=60) as pool:
        failing = ask(await pool.connect(fresh=False))
        after = await waiting(pool, fresh=False)
        assert await failing.end() is not None
        assert await ask(await after).end() is None


async def test_a_connection_that_cannot_be_made_gives_its_place_on() -> None:
    async with scripted(echo) as port:
        pass
    async with pool_for(port, connections_max=1, queue_timeout_s=60) as pool:
        results = await asyncio.gather(*(pool.connect(fresh=True) for _ in range(5)), return_exceptions=True)
        assert [type(result) for result in results] == [UpstreamUnreachableError] * 5
        assert pool.open_count == 0


@pytest.mark.parametrize("moment", range(8))
async def test_who_leaves_the_line_takes_nothing_along(moment: int) -> None:
    async with scripted(echo) as port, pool_for(port, connections_max=1, queue_timeout_s=60) as pool:
        only = await pool.connect(fresh=False)
        leaving, staying = await waiting(pool, fresh=False), await waiting(pool, fresh=False)
        await ask(only).end()
        await turns(moment)
        leaving.cancel()
        left = (await asyncio.gather(leaving, return_exceptions=True))[0]
        if not isinstance(left, BaseException):
            left.abort()
        assert await ask(await staying).end() is None
        await until(lambda: pool.open_count == pool.idle_count == 1)


async def test_a_handed_over_connection_that_broke_is_replaced() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 0:
            await peer.send(ANSWER + b"and more than was asked for")
        await peer.send(ANSWER)

    async with scripted(script) as port, pool_for(port, connections_max=1, queue_timeout_s=60) as pool:
        only = await pool.connect(fresh=False)
        after = await waiting(pool, fresh=False)
        assert await ask(only).end() is None
        assert await after is not only
        assert await ask(await after).end() is None


async def test_a_pool_that_closes_sends_away_who_waits() -> None:
    async with scripted(echo) as port, pool_for(port, connections_max=1, queue_timeout_s=60) as pool:
        only = await pool.connect(fresh=False)
        after = await waiting(pool, fresh=False)
        await pool.close()
        with pytest.raises(UpstreamUnreachableError, match="shutting down"):
            await after
        only.abort()


async def test_many_share_few() -> None:
    async def asked(pool: UpstreamPool, number: int) -> None:
        assert await ask(await pool.connect(fresh=number % 3 == 0)).end() is None

    most = 0

    async def script(peer: Peer) -> None:
        nonlocal most
        most = max(most, pool.open_count)
        await echo(peer)

    async with scripted(script) as port, pool_for(port, connections_max=4, queue_timeout_s=60) as pool:
        await asyncio.gather(*(asked(pool, number) for number in range(200)))
        assert most <= 4
        await until(lambda: pool.open_count == pool.idle_count)
