"""A reload brings another client: calls under way end on the old one, which then closes; new ones take the new."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from sidecar.config import Admin, ClientTls
from sidecar.engine.ports import Verdict
from sidecar.turn.state import StepKind
from sidecar.upstream.admin import AdminClient
from sidecar.upstream.admin_now import AdminNow
from tests.integration.upstream.test_admin import KEY, turn_with

if TYPE_CHECKING:
    from pytest_aiohttp.plugin import AiohttpServer


async def started(base_url: str) -> AdminClient:
    client = AdminClient(Admin(), base_url, lambda _route: {}, ClientTls())
    await client.start()
    return client


async def test_calls_under_way_end_where_they_began(aiohttp_server: AiohttpServer) -> None:
    came: asyncio.Queue[str] = asyncio.Queue()
    go_on = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await came.put(request.path)
        await go_on.wait()
        return web.Response()

    async def quick(_: web.Request) -> web.Response:
        return web.Response(status=404)

    old_app, new_app = web.Application(), web.Application()
    old_app.router.add_route("*", "/{tail:.*}", slow)
    new_app.router.add_route("*", "/{tail:.*}", quick)
    old_server, new_server = await aiohttp_server(old_app), await aiohttp_server(new_app)
    old, new = await started(str(old_server.make_url("/"))), await started(str(new_server.make_url("/")))
    admin = AdminNow(old)

    calls = [asyncio.create_task(admin.call(StepKind.CANCEL, turn_with(), idempotency_key=KEY)) for _ in range(2)]
    await came.get()
    await came.get()
    await admin.use(new)
    assert (await admin.call(StepKind.CANCEL, turn_with(), idempotency_key=KEY)).verdict is Verdict.GONE
    assert not is_closed(old)
    go_on.set()
    assert [(await call).verdict for call in calls] == [Verdict.DONE, Verdict.DONE]
    assert is_closed(old)
    assert not is_closed(new)
    await admin.close()
    await admin.close()
    assert is_closed(new)


async def test_an_idle_client_closes_at_once(aiohttp_server: AiohttpServer) -> None:
    server = await aiohttp_server(web.Application())
    old, new = await started(str(server.make_url("/"))), await started(str(server.make_url("/")))
    admin = AdminNow(old)
    await admin.use(new)
    assert is_closed(old)
    assert await admin.shows({}) is None
    await admin.close()


def is_closed(client: AdminClient) -> bool:
    return client._pool is None
