"""Through each front, a client's leaving reaches the sidecar, judged by the backend's own database."""

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
WORDS: Final = 30


@pytest.mark.parametrize("kind", FRONTS)
async def test_its_file_passes_its_own_check(kind: type[Front], tmp_path: Path) -> None:
    assert await kind(tmp_path, 8080).complaints() == ""


@pytest.mark.parametrize("kind", FRONTS)
async def test_leavings_cancels_and_answers_pass(
    kind: type[Front], backend: LegacyBackend, sidecar: SidecarProcess, visits: Visits, tmp_path: Path
) -> None:
    """All at the same time: those who leave and those who say cancel are rolled back, those who stay are not."""
    front = kind(tmp_path, sidecar.port)
    async with front.running():
        await asyncio.gather(
            play_all(DEPARTURES, visits, front.port, backend, LONG),
            *(cancel_on_request(protocol, visits, front.port) for protocol in PROTOCOLS),
            *(read_to_the_end(protocol, visits, front.port, backend) for protocol in PROTOCOLS),
        )
        states = await settled(sidecar)
    left = {departure.request_id for departure in DEPARTURES}
    stopped = {f"stopped-{protocol.protocol}" for protocol in PROTOCOLS}
    stayed = {f"read-{protocol.protocol}" for protocol in PROTOCOLS}
    assert states == {**dict.fromkeys(left | stopped, "cancelled"), **dict.fromkeys(stayed, "completed")}
    causes = sidecar.causes()
    assert {causes[request_id] for request_id in left} <= {"closed", "reset"}
    assert {causes[request_id] for request_id in stopped} == {"requested"}
    await backend.until(lambda: backend.quiet, WAIT_S)
    assert [kept.words for kept in backend.kept()] == [WORDS] * len(PROTOCOLS)
    assert {name for name, made in backend.generations.items() if made.finished} == stayed


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


async def read_to_the_end(protocol: type[Visitor], visits: Visits, port: int, backend: LegacyBackend) -> None:
    reader = await visits.begin(protocol, port)
    request_id = f"read-{protocol.protocol}"
    await reader.post(f"{CHAT}?words={WORDS}&word_ms=100", request_id, ASKED)
    assert await reader.status() == 200
    first = await reader.piece()
    assert not backend.generations[request_id].finished, "the answer was held back"
    assert len((first + await reader.rest()).split()) == WORDS
