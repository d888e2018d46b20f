"""Faults of the backend's admin API, for `LegacyBackend.admin_fault` and `admin_fault_after`: one kind each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from sidecar.demo.backend import AdminFault


def answering(status: int, *, body: str = "", headers: dict[str, str] | None = None) -> AdminFault:
    """Answer every call so."""

    async def fault(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body, headers=headers)

    return fault


def hanging() -> AdminFault:
    """Never answer: the caller's time-out has to end it."""

    async def fault(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("nothing sets the event")

    return fault


def dropping() -> AdminFault:
    """Abort the connection in place of an answer."""

    async def fault(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    return fault


def first(count: int, fault: AdminFault) -> AdminFault:
    """Have the fault for so many calls, and none after."""
    left = count

    async def counted(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        left -= 1
        return await fault(request) if left >= 0 else None

    return counted
