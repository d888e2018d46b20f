"""The sidecar's own ways: to its address, to the backend, and to the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.config import TcpAddress, parse_address
from sidecar.config.urls import address_of, is_https
from sidecar.doctor.judge import way as judge_way
from sidecar.doctor.reach import Reach, reach
from sidecar.upstream.tls import client_tls

if TYPE_CHECKING:
    from sidecar.config import Address, ClientTls, Settings
    from sidecar.doctor.findings import Finding

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared with, not bound)


async def own_ways(settings: Settings, timeout_s: float) -> list[Finding]:
    """Try them; the admin API's only where it is used, and at another place than the backend."""
    listens = await reach(dialled(parse_address(settings.listen.address)), timeout_s=timeout_s)
    servers = {"upstream.url": (settings.upstream.url, settings.upstream.tls)}
    if settings.admin.calls and settings.admin_url != settings.upstream.url:
        servers["admin.url"] = (settings.admin_url, settings.admin_tls)
    return [
        judge_way.listener(settings.listen.address, listens),
        *[
            judge_way.backend(key, url, await _reach_url(key, url, tls, timeout_s))
            for key, (url, tls) in servers.items()
        ],
    ]


def dialled(address: Address) -> Address:
    """Give what to dial for an address that is listened at: for one of all interfaces, loopback."""
    if isinstance(address, TcpAddress) and address.host in _LOOPBACK:
        return TcpAddress(_LOOPBACK[address.host], address.port)
    return address


async def _reach_url(key: str, url: str, tls: ClientTls, timeout_s: float) -> Reach:
    trust = client_tls(tls, f"{key.partition('.')[0]}.tls") if is_https(url) else None
    return await reach(address_of(url), timeout_s=timeout_s, trust=trust, server_name=tls.server_name)
