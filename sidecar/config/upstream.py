"""`[upstream]`: the legacy backend, the limits of our connections to it, and how it is known."""

from __future__ import annotations

from sidecar.config.files import FilePath
from sidecar.config.section import Section
from sidecar.config.urls import ServerName, UpstreamUrl
from sidecar.config.values import CountOrNone, Seconds, SecondsOrNone


class Drain(Section):
    """`[upstream.drain]`: limits of reading an abandoned answer on for ids that it has not yet told (law 4)."""

    timeout_s: Seconds = 30
    bytes_max: CountOrNone = 1_048_576
    streams_max: CountOrNone = 1000


class ClientTls(Section):
    """`[upstream.tls]`, `[admin.tls]`: how the server behind an https URL is known, and how we are known to it."""

    verify: bool = True
    ca: FilePath | None = None
    server_name: ServerName | None = None
    cert: FilePath | None = None
    key: FilePath | None = None

    @property
    def reads_files(self) -> bool:
        """Whether it depends on more than what stands here."""
        return self.ca is not None or self.cert is not None


class Upstream(Section):
    """`[upstream]`: the legacy backend."""

    url: UpstreamUrl
    connect_timeout_s: Seconds = 5
    response_timeout_s: Seconds = 120
    idle_timeout_s: Seconds = 120
    connections_max: CountOrNone = 20_000
    queue_timeout_s: SecondsOrNone = 5
    idle_max: CountOrNone = 128
    idle_expiry_s: Seconds = 30
    tls: ClientTls = ClientTls()
    drain: Drain = Drain()
