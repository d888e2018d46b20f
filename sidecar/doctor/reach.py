"""Whether an address can be reached, and what its certificate is worth."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.config import UnixAddress
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


async def reach(
    address: Address, *, timeout_s: float, trust: ssl.SSLContext | None = None, server_name: str | None = None
) -> Reach:
    """Connect to an address, with `trust` by TLS, and disconnect."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await _open(address, trust, server_name)
    except ssl.SSLCertVerificationError as error:
        return Reach(distrust=why_unreachable(error))
    except (OSError, TimeoutError) as error:
        silent = isinstance(error, TimeoutError) and not str(error)
        return Reach(error=f"no connection within {timeout_s:g} s" if silent else why_unreachable(error))
    try:
        spoken = writer.get_extra_info("ssl_object")
        if spoken is None:
            return Reach()
        return Reach(tls=spoken.version(), days_left=_days_left(spoken.getpeercert()))
    finally:
        writer.transport.abort()  # a server that does not close in turn is not waited for


async def _open(
    address: Address, trust: ssl.SSLContext | None, server_name: str | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, UnixAddress):
        return await asyncio.open_unix_connection(address.path)
    name = (server_name or address.host) if trust is not None else None
    return await asyncio.open_connection(address.host, address.port, ssl=trust, server_hostname=name)


def _days_left(certificate: dict[str, object] | None) -> float | None:
    ends = (certificate or {}).get("notAfter")
    return (ssl.cert_time_to_seconds(ends) - time.time()) / 86_400 if isinstance(ends, str) else None
