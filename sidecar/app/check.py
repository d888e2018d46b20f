"""What a configuration needs of the machine, looked at without starting anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.app.tracing import check_tracing
from sidecar.host.tls import ServerTls
from sidecar.upstream.tls import check_tls

if TYPE_CHECKING:
    from sidecar.config import Settings


def check_machine(settings: Settings) -> None:
    """Look into the files that the configuration names, and for the extras. Raises ConfigError."""
    check_tls(settings)
    if settings.listen.tls is not None:
        ServerTls.load(settings.listen.tls)
    check_tracing(settings.tracing)
