"""Starlette and httpx, the usual recipe; run by uvicorn. UPSTREAM comes from the environment."""

import os

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=1024, keepalive_expiry=75)
client = httpx.AsyncClient(base_url=f"http://{os.environ['UPSTREAM']}", timeout=httpx.Timeout(None), limits=LIMITS)


async def relay(request: Request) -> StreamingResponse:
    url = httpx.URL(path=request.url.path, query=request.url.query.encode())
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    headers = [(name, value) for name, value in request.headers.raw if name not in HOP]
    ask = client.build_request(request.method, url, headers=headers, content=request.stream() if has_body else None)
    answer = await client.send(ask, stream=True)
    response = StreamingResponse(answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose))
    response.raw_headers = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in HOP]
    return response


app = Starlette(routes=[Route("/{path:path}", relay, methods=["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])])
