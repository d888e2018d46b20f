"""Whether an address can be reached, and what its certificate is worth."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.config import TcpAddress
from sidecar.upstream.unreachable import why_unreachable

if TYPE_CHECKING:
    from sidecar.config import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What came of connecting. `error` says why it could not be, `distrust` why its certificate was refused."""

    error: str | None = None
    distrust: str | None = None
    tls: str | None = None
    """The version of TLS, where it was spoken."""
    days_left: float | None = None
    """For how long the certificate is still valid."""


async def reach(host: str, port: int, *, tls: bool, timeout_s: float) -> Reach:
    """Connect to an address, and disconnect."""
    try:
        return await _connect(host, port, ssl.create_default_context() if tls else None, timeout_s)
    except ssl.SSLCertVerificationError as error:
        return Reach(distrust=why_unreachable(error))
    except (OSError, TimeoutError) as error:
        return Reach(error=_why(error, timeout_s))


async def reach_listener(address: Address, timeout_s: float) -> Reach:
    """Connect to where a sidecar listens; to an address of all interfaces, over loopback."""
    if isinstance(address, TcpAddress):
        return await reach(address.host, address.port, tls=False, timeout_s=timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_unix_connection(address.path)
    except (OSError, TimeoutError) as error:
        return Reach(error=_why(error, timeout_s))
    writer.close()
    return Reach()


async def _connect(host: str, port: int, trust: ssl.SSLContext | None, timeout_s: float) -> Reach:
    async with asyncio.timeout(timeout_s):
        _, writer = await asyncio.open_connection(host, port, ssl=trust)
    try:
        spoken = writer.get_extra_info("ssl_object")
        if spoken is None:
            return Reach()
        return Reach(tls=spoken.version(), days_left=_days_left(spoken.getpeercert()))
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(timeout_s):
                await writer.wait_closed()


def _days_left(certificate: dict[str, object] | None) -> float | None:
    ends = (certificate or {}).get("notAfter")
    return (ssl.cert_time_to_seconds(ends) - time.time()) / 86_400 if isinstance(ends, str) else None


def _why(error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"no connection within {timeout_s:g} s"
    return why_unreachable(error)
