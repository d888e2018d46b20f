"""The settings that deploy/ warns of do break it: each is put into a front that works, and its harm is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.deploy.departures import ASKED, DEPARTURES, SHORT, Departure, Moment, play_all, settled
from tests.deploy.fronts import Caddy, Front, HAProxy, Nginx
from tests.deploy.visitor import Http1, Http2, Visitor, Visits, Way
from tests.fakes.downstream import CHAT

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.demo.backend import LegacyBackend
    from tests.acceptance.process import SidecarProcess

HIDING: Final = [
    pytest.param(
        Nginx,
        {"proxy_ignore_client_abort off": "proxy_ignore_client_abort on"},
        DEPARTURES,
        id="nginx: proxy_ignore_client_abort on",
    ),
    pytest.param(
        HAProxy,
        {"    option abortonclose\n": ""},
        [departure for departure in DEPARTURES if departure.protocol is Http1 or departure.way is Way.CLOSES],
        id="haproxy: no option abortonclose",
    ),
    pytest.param(
        Caddy,
        {"reverse_proxy 127.0.0.1:8080 {\n": "reverse_proxy 127.0.0.1:8080 {\n\t\tflush_interval -1\n"},
        DEPARTURES,
        id="caddy: flush_interval -1",
    ),
]


@pytest.mark.parametrize(("kind", "changes", "departures"), HIDING)
async def test_the_work_goes_on_for_those_who_left(
    kind: type[Front],
    changes: dict[str, str],
    departures: list[Departure],
    backend: LegacyBackend,
    sidecar: SidecarProcess,
    visits: Visits,
    tmp_path: Path,
) -> None:
    front = kind(tmp_path, sidecar.port, changes)
    async with front.running():
        await play_all(departures, visits, front.port, backend, SHORT)
        assert set(await settled(sidecar)) == {departure.request_id for departure in departures}
    assert [made for made in backend.generations.values() if made.words_made < made.words] == []


async def test_nginx_buffering_holds_the_answer_back(
    backend: LegacyBackend, sidecar: SidecarProcess, visits: Visits, tmp_path: Path
) -> None:
    front = Nginx(tmp_path, sidecar.port, {"proxy_buffering off": "proxy_buffering on"})
    async with front.running():
        reader = await visits.begin(Http1, front.port)
        await reader.post(f"{CHAT}?{SHORT[Moment.MID_STREAM]}", "read", ASKED)
        assert await reader.status() == 200
        assert await reader.piece()
        assert backend.generations["read"].finished, "its first word comes when its last is made"


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        pytest.param(Nginx, {"proxy_read_timeout 150s": "proxy_read_timeout 1s"}, id="nginx: proxy_read_timeout"),
        pytest.param(HAProxy, {"timeout server 150s": "timeout server 1s"}, id="haproxy: timeout server"),
        pytest.param(
            Caddy, {"response_header_timeout 150s": "response_header_timeout 1s"}, id="caddy: response_header_timeout"
        ),
    ],
)
async def test_patience_that_is_too_short_rolls_back_who_stayed(
    kind: type[Front],
    changes: dict[str, str],
    backend: LegacyBackend,
    sidecar: SidecarProcess,
    visits: Visits,
    tmp_path: Path,
) -> None:
    front = kind(tmp_path, sidecar.port, changes)
    async with front.running():
        reader = await visits.begin(Http2, front.port)
        await reader.post(f"{CHAT}?think_ms=60000", "slow", ASKED)
        assert await reader.status() in {502, 504}
        states = await settled(sidecar)
    assert states == {"slow": "cancelled"}
    assert backend.kept() == ()


@pytest.mark.parametrize(("kind", "protocol"), [(Nginx, Http1), (Nginx, Http2), (HAProxy, Http1)])
async def test_an_answer_that_breaks_off_is_seen_to(
    kind: type[Front],
    protocol: type[Visitor],
    backend: LegacyBackend,
    sidecar: SidecarProcess,
    visits: Visits,
    tmp_path: Path,
) -> None:
    """Others than these end it towards the client as if it were whole; docs/DEPLOYING.md says so."""
    front = kind(tmp_path, sidecar.port)
    async with front.running():
        reader = await visits.begin(protocol, front.port)
        await reader.post(f"{CHAT}?words=10&word_ms=50&die_after=3", "cut", ASKED)
        with pytest.raises(ConnectionError):
            await read_whole(reader)
        assert await settled(sidecar) == {"cut": "cancelled"}
    assert backend.kept() == ()


async def read_whole(reader: Visitor) -> bytes:
    await reader.status()
    return await reader.rest()
