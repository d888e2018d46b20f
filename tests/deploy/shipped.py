"""A sidecar run with a configuration that deploy/ ships: only addresses and the journal's path are the test's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp.test_utils import unused_port

from tests.acceptance.crowd import Client, Way
from tests.acceptance.process import SidecarProcess
from tests.deploy.fronts import replaced
from tests.deploy.visitor import WAIT_S
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.demo.backend import LegacyBackend

UPSTREAM = "http://127.0.0.1:9000"
TOKEN = "a-token-that-was-made-for-no-one-but-this-test"


class ShippedSidecar(SidecarProcess):
    """Its console is at `127.0.0.1:console_port`."""

    def __init__(self, folder: Path, upstream: str, shipped: str) -> None:
        super().__init__(folder, upstream)
        self.console_port = unused_port()
        places = {
            '"0.0.0.0:8080"': f'"127.0.0.1:{self.port}"',
            '"0.0.0.0:9901"': f'"127.0.0.1:{self.console_port}"',
            UPSTREAM: upstream,
            "/var/lib/cancel-sidecar/sidecar.db": str(self.journal),
            "${CONSOLE_TOKEN}": TOKEN,
        }
        self.config.write_text(replaced(shipped, places), encoding="utf-8")


async def only_who_stays_is_kept(backend: LegacyBackend, sidecar: ShippedSidecar) -> None:
    """Have a client come in every way that there is, and see what is left at the backend."""
    for way in Way:
        await Client(way.replace(" ", "-"), way, leaves_after=0).chat(sidecar.port)
    await backend.until(lambda: backend.quiet, WAIT_S)
    kept = [frozenset({Way.STAYS.value})]
    await eventually(lambda: [conversation.request_ids for conversation in backend.kept()] == kept, WAIT_S)
    assert [name for name, state in sidecar.turns().items() if state == "completed"] == [Way.STAYS]
