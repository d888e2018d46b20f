"""Who may ask the console, and from where: host, token, origin, and that looking changes nothing."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest

from sidecar.app import Sidecar
from sidecar.config import load_table
from sidecar.console import endpoint, guard, server
from sidecar.errors import OperatorError
from sidecar.host import Host, Inherited
from tests.fakes.downstream import Downstream
from tests.fakes.operator import Operator, operator
from tests.fakes.scene import scene
from tests.integration.console.abandoning import PATIENCE_S, leave_dead, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.scene import Scene

TOKEN = "correct-horse"
GUARDED = ("/metrics", "/api/overview", "/api/events", "/api/turns", "/api/outbox", "/api/config", "/api/openapi.json")
OPEN = ("/", "/static/main.js", "/static/base.css", "/healthz", "/readyz")
JSON = "application/json"


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Scene]:
    """Give a console with a token."""
    async with scene(tmp_path, console={"address": "127.0.0.1:0", "token": TOKEN}) as running:
        yield running


@pytest.fixture
async def stranger(locked: Scene) -> AsyncIterator[Operator]:
    async with operator(locked.sidecar.console_url) as stranger:
        yield stranger


async def test_without_the_token_only_what_is_no_secret_is_shown(stranger: Operator) -> None:
    for path in GUARDED:
        told = await stranger.ask(path)
        assert told.status == 401, path
        assert told.headers["www-authenticate"].startswith("Bearer")
        assert "console.token" in told.json["mend"]
    for path in OPEN:
        assert (await stranger.ask(path)).status == 200, path


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, "Bearer \udcff"],
)
async def test_nearly_the_token_is_not_the_token(stranger: Operator, given: str) -> None:
    assert (await stranger.ask("/api/turns", Authorization=given)).status == 401


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer  {TOKEN} "])
async def test_with_the_token_all_is_shown(stranger: Operator, given: str) -> None:
    assert (await stranger.ask("/api/turns", Authorization=given)).status == 200


async def test_without_a_token_it_is_for_this_machine_alone(
    tmp_path: Path, asks: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration sees to that; but a socket may have been handed over, and a token taken away by a reload."""
    monkeypatch.setattr(guard, "_came_by_loopback", lambda _: False)
    assert (await asks.ask("/api/turns")).status == 401
    assert (await asks.ask("/healthz")).status == 200
    monkeypatch.undo()
    assert (await asks.ask("/api/turns")).status == 200
    (tmp_path / "other").mkdir()
    async with scene(tmp_path / "other", console={"address": f"unix:{tmp_path}/console"}) as running:
        assert running.sidecar.console_url == f"unix:{tmp_path}/console"
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(f"{tmp_path}/console")) as session:
            operator_here = Operator("http://localhost", session)
            assert (await operator_here.ask("/api/turns")).status == 200
    assert not (tmp_path / "console").exists()


async def test_a_socket_that_others_reach_is_not_taken_without_a_token(tmp_path: Path) -> None:
    settings = load_table(
        {
            "upstream": {"url": "http://127.0.0.1:1"},
            "listen": {"address": "127.0.0.1:0"},
            "journal": {"path": str(tmp_path / "sidecar.db")},
        },
        {},
    )
    with socket.socket() as handed_over:
        handed_over.bind(("0.0.0.0", 0))  # noqa: S104  (as a socket unit may have it)
        handed_over.listen()
        host = Host(inherited=Inherited({"console": [handed_over]}))
        with pytest.raises(OperatorError, match=r"console\.token: .* can be reached from other machines"):
            async with Sidecar.start(settings, host):
                pass


async def test_a_change_needs_the_token_too(locked: Scene, stranger: Operator) -> None:
    client = await stream(locked)
    turn_id = locked.turns()[0]["id"]
    assert (await stranger.ask(f"/api/turns/{turn_id}/cancel", "POST", json={})).status == 401
    assert locked.turns()[0]["state"] == "open"
    client.close()
    await locked.turn_in("cancelled")


@pytest.mark.parametrize("host", ["127.0.0.1:9901", "127.0.0.1", "[::1]:9901", "localhost:1", "LocalHost", "10.2.3.4"])
async def test_it_is_known_by_addresses_and_as_localhost(asks: Operator, host: str) -> None:
    assert (await asks.ask("/api/turns", Host=host)).status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[evil]"])
@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/turns"])
async def test_a_page_that_was_rebound_to_it_gets_nothing(asks: Operator, host: str, path: str) -> None:
    told = await asks.ask(path, Host=host)
    assert told.status == 421
    assert "console.hosts" in told.json["mend"]


async def test_it_is_known_by_the_names_that_it_was_given(tmp_path: Path) -> None:
    console = {"address": "localhost:0", "hosts": ["Console.example"]}
    async with scene(tmp_path, console=console) as running, operator(running.sidecar.console_url) as asks:
        assert (await asks.ask("/healthz", Host="console.EXAMPLE.:8443")).status == 200
        assert (await asks.ask("/healthz", Host="console.example.evil")).status == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content_Type": JSON, "Origin": "https://evil.example"}, 403),
        ({"Content_Type": JSON, "Origin": "null"}, 403),
        ({"Content_Type": JSON, "Sec_Fetch_Site": "cross-site"}, 403),
        ({"Content_Type": JSON, "Sec_Fetch_Site": "same-site"}, 403),
        ({"Content_Type": JSON, "Origin": "http://{host}"}, 202),
        ({"Content_Type": JSON, "Origin": "http://{host}", "Sec_Fetch_Site": "same-origin"}, 202),
        ({"Content_Type": JSON}, 202),
    ],
)
async def test_no_other_sites_page_can_change_anything(
    running: Scene, asks: Operator, headers: dict[str, str], status: int
) -> None:
    await leave_dead(running)
    running.admin.answers.clear()
    host = running.sidecar.console_url.removeprefix("http://")
    filled = {name: value.format(host=host) for name, value in headers.items()}
    told = await asks.ask("/api/outbox/retry-dead", "POST", **filled)
    assert told.status == status
    if status == 202:
        await running.turn_in("cancelled", PATIENCE_S)
    else:
        assert running.turns()[0]["state"] == "unresolved"
        assert told.json["mend"]


async def test_looking_changes_nothing(running: Scene, asks: Operator) -> None:
    await leave_dead(running)
    before = (running.turns(), running.steps())
    step_id = before[1][1]["id"]
    for path in (
        f"/api/turns/{before[0][0]['id']}/cancel",
        f"/api/outbox/{step_id}/retry",
        f"/api/outbox/{step_id}/drop",
        "/api/outbox/retry-dead",
        "/api/reload",
    ):
        for method in ("GET", "HEAD"):
            assert (await asks.ask(path, method)).status == 405
    for path in (*GUARDED, *OPEN, f"/api/turns/{before[0][0]['id']}"):
        if path != "/api/events":
            assert (await asks.ask(path)).status == 200
    assert (running.turns(), running.steps()) == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_not_known(asks: Operator, method: str) -> None:
    told = await asks.ask("/api/turns", method, Content_Type=JSON)
    assert told.status == 405
    assert "GET" in told.headers["allow"]


async def test_every_answer_is_fenced_in(asks: Operator) -> None:
    for path in ("/", "/static/main.js", "/api/turns", "/metrics", "/healthz", "/nothing"):
        headers = (await asks.ask(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
    assert (await asks.ask("/api/turns")).headers["cache-control"] == "no-store"


async def test_a_body_that_is_too_long_is_refused(asks: Operator) -> None:
    told = await asks.ask("/api/outbox/1/drop", "POST", json={"reason": "x" * 100_000})
    assert (told.status, told.json["mend"]) == (413, "Send a shorter one.")


@pytest.mark.parametrize("begun", ["", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"])
async def test_who_dawdles_with_a_head_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: str) -> None:
    monkeypatch.setattr(server, "KEEPALIVE_S", 0.05)
    async with scene(tmp_path, console={"address": "127.0.0.1:0"}) as running:
        client = await Downstream.connect(running.sidecar.console_url)
        await client.send(begun.encode())
        assert await client.rest() == b""
        client.close()


async def test_who_dawdles_with_a_body_is_let_go(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "BODY_TIMEOUT_S", 0.05)
    client = await Downstream.connect(running.sidecar.console_url)
    head = f"POST /api/reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\nContent-Length: 9\r\n\r\n"
    await client.send(head.encode() + b"{")
    assert (await client.answer()).status == 408
    client.close()


async def test_what_is_not_there_is_told_with_a_mend(asks: Operator) -> None:
    for path in ("/nothing", "/static/nothing.js", "/static/..%2fserver.py", "/api"):
        told = await asks.ask(path)
        assert told.status == 404, path
        assert told.headers["content-type"].startswith("application/problem+json")
        assert told.json["mend"]


async def test_files_are_not_sent_twice(asks: Operator) -> None:
    told = await asks.ask("/static/main.js")
    assert told.headers["content-type"] == "text/javascript; charset=utf-8"
    again = await asks.ask("/static/main.js", If_None_Match=told.headers["etag"])
    assert (again.status, again.text) == (304, "")
