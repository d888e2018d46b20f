"""A reverse proxy in 40 lines of aiohttp, as people write it. usage: aiohttp_proxy.py PORT UPSTREAM [uvloop]."""

import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

PORT, UPSTREAM = int(sys.argv[1]), f"http://{sys.argv[2]}"
HOP = {"connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"}
SESSION = web.AppKey("session", aiohttp.ClientSession)


async def relay(request: web.Request) -> web.StreamResponse:
    headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP]
    body = request.content if request.can_read_body else None
    ask = request.app[SESSION].request
    async with ask(request.method, UPSTREAM + request.raw_path, headers=headers, data=body) as answer:
        response = web.StreamResponse(status=answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in HOP:
                response.headers.add(name, value)
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def session(app: web.Application) -> AsyncIterator[None]:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=75)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    app[SESSION] = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
    yield
    await app[SESSION].close()


app = web.Application(client_max_size=1 << 30)
app.cleanup_ctx.append(session)
app.router.add_route("*", "/{tail:.*}", relay)
if "uvloop" in sys.argv:
    import uvloop

    uvloop.install()
web.run_app(app, host="127.0.0.1", port=PORT, access_log=None, backlog=4096, keepalive_timeout=75, print=None)
