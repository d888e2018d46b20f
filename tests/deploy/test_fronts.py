"""Through each front, a client's leaving reaches the sidecar: what it abandoned is gone from the backend's database."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pytest

from tests.deploy.departures import ASKED, DEPARTURES, LONG, PROTOCOLS, Moment, play_all, settled
from tests.deploy.fronts import Caddy, Front, HAProxy, Nginx
from tests.deploy.visitor import WAIT_S, Visitor, Visits
from tests.fakes.downstream import CANCEL, CHAT

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.demo.backend import LegacyBackend
    from tests.acceptance.process import SidecarProcess

FRONTS: Final[list[type[Front]]] = [Nginx, HAProxy, Caddy]
WORDS: Final = 20


@pytest.mark.parametrize("kind", FRONTS)
async def test_its_file_passes_its_own_check(kind: type[Front], tmp_path: Path) -> None:
    assert await kind(tmp_path, 8080).complaints() == ""


@pytest.mark.parametrize("kind", FRONTS)
async def test_whoever_leaves_is_rolled_back(
    kind: type[Front], backend: LegacyBackend, sidecar: SidecarProcess, visits: Visits, tmp_path: Path
) -> None:
    front = kind(tmp_path, sidecar.port)
    async with front.running():
        await play_all(DEPARTURES, visits, front.port, backend, LONG)
        states = await settled(sidecar)
    assert states == {departure.request_id: "cancelled" for departure in DEPARTURES}
    assert set(sidecar.causes().values()) <= {"closed", "reset"}
    await backend.until(lambda: backend.quiet, WAIT_S)
    assert backend.kept() == ()
    assert not any(record.finished for record in backend.generations.values())


@pytest.mark.parametrize("kind", FRONTS)
async def test_a_request_to_cancel_passes(
    kind: type[Front], backend: LegacyBackend, sidecar: SidecarProcess, visits: Visits, tmp_path: Path
) -> None:
    front = kind(tmp_path, sidecar.port)
    async with front.running():
        await asyncio.gather(*(cancel_on_request(protocol, visits, front.port) for protocol in PROTOCOLS))
        states = await settled(sidecar)
    assert states == {f"stopped-{protocol.protocol}": "cancelled" for protocol in PROTOCOLS}
    assert set(sidecar.causes().values()) == {"requested"}
    assert backend.kept() == ()


async def cancel_on_request(protocol: type[Visitor], visits: Visits, port: int) -> None:
    asking, saying = await visits.begin(protocol, port), await visits.begin(protocol, port)
    request_id = f"stopped-{protocol.protocol}"
    await asking.post(f"{CHAT}?{LONG[Moment.MID_STREAM]}", request_id, ASKED)
    assert await asking.status() == 200
    assert await asking.piece()
    await saying.post(CANCEL, "stop", {"requestId": request_id})
    assert await saying.status() == 200
    # Some fronts break off, as the sidecar does; others end the answer as if it were whole.
    with suppress(ConnectionError):
        await asking.rest()


@pytest.mark.parametrize("kind", FRONTS)
async def test_whoever_stays_reads_as_it_comes_and_keeps_it(
    kind: type[Front], backend: LegacyBackend, sidecar: SidecarProcess, visits: Visits, tmp_path: Path
) -> None:
    front = kind(tmp_path, sidecar.port)
    async with front.running():
        readers = [await visits.begin(protocol, front.port) for protocol in PROTOCOLS]
        await asyncio.gather(*(read_to_the_end(reader, backend) for reader in readers))
        states = await settled(sidecar)
    assert states == {f"read-{protocol.protocol}": "completed" for protocol in PROTOCOLS}
    assert [kept.words for kept in backend.kept()] == [WORDS] * len(PROTOCOLS)


async def read_to_the_end(reader: Visitor, backend: LegacyBackend) -> None:
    request_id = f"read-{reader.protocol}"
    await reader.post(f"{CHAT}?words={WORDS}&word_ms=80", request_id, ASKED)
    assert await reader.status() == 200
    first = await reader.piece()
    assert not backend.generations[request_id].finished, "the answer was held back"
    assert len((first + await reader.rest()).split()) == WORDS
