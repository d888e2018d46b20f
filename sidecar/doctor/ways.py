"""The sidecar's own ways: to its address, to the backend, and to the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sidecar.config import TcpAddress, parse_address
from sidecar.doctor.judge import way as judge_way
from sidecar.doctor.reach import Reach, reach, reach_listener

if TYPE_CHECKING:
    from sidecar.config import Address, Settings
    from sidecar.doctor.findings import Finding

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared with, not bound)


async def own_ways(settings: Settings, timeout_s: float) -> list[Finding]:
    """Try them; the admin API's only where it is used, and at another place than the backend."""
    listens = await reach_listener(dialled(parse_address(settings.listen.address)), timeout_s)
    urls = {"upstream.url": settings.upstream.url}
    if settings.admin.calls and settings.admin_url != settings.upstream.url:
        urls["admin.url"] = settings.admin_url
    return [
        judge_way.listener(settings.listen.address, listens),
        *[judge_way.backend(key, url, await _reach_url(url, timeout_s)) for key, url in urls.items()],
    ]


def dialled(address: Address) -> Address:
    """Give what to dial for an address that is listened at: for one of all interfaces, loopback."""
    if isinstance(address, TcpAddress) and address.host in _LOOPBACK:
        return TcpAddress(_LOOPBACK[address.host], address.port)
    return address


async def _reach_url(url: str, timeout_s: float) -> Reach:
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return await reach(parts.hostname or "", parts.port or (443 if tls else 80), tls=tls, timeout_s=timeout_s)
