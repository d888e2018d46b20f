"""/healthz and /readyz: alive, and ready; which part is not, and why."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from sidecar.console import health
from tests.fakes.operator import operator
from tests.fakes.scene import scene

if TYPE_CHECKING:
    from pathlib import Path

ON = {"address": "127.0.0.1:0"}


@pytest.fixture(autouse=True)
def _asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.Readiness.reasons, "__defaults__", (0.0,))


async def test_all_is_well(tmp_path: Path) -> None:
    async with scene(tmp_path, console=ON) as running, operator(running.sidecar.console_url) as asks:
        assert (await asks.ask("/healthz")).text == "ok\n"
        told = await asks.ask("/readyz")
        assert (told.status, told.text) == (200, "process: ok\nupstream: ok\njournal: ok\noutbox: ok\n")


async def test_an_upstream_that_is_down(tmp_path: Path) -> None:
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        here = scene(tmp_path, console=ON, upstream={"url": url})
        async with here as running, operator(running.sidecar.console_url) as asks:
            told = await asks.ask("/readyz")
            assert told.status == 503
            assert "upstream: cannot connect to 127.0.0.1" in told.text
            assert "journal: ok" in told.text
            assert (await asks.ask("/healthz")).status == 200


async def test_a_journal_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.journal.connection.BUSY_TIMEOUT_S", 0.01)
    async with scene(tmp_path, console=ON) as running, operator(running.sidecar.console_url) as asks:
        async with running.journal_locked():
            told = await asks.ask("/readyz")
        assert told.status == 503
        assert "journal: the journal" in told.text
        assert "locked" in told.text
        assert (await asks.ask("/readyz")).status == 200


async def test_a_call_that_is_owed_for_too_long(tmp_path: Path) -> None:
    async with scene(tmp_path, console={**ON, "outbox_age_max_s": 0.001}) as running:
        running.admin.answers["POST /admin/requests/r1/cancel"] = 503
        async with operator(running.sidecar.console_url) as asks:
            client = await running.client()
            await client.chat("X-Request-Id: r1")
            await running.upstream.request()
            client.close()
            await running.turn_in("cancelling")
            told = await asks.ask("/readyz")
            assert told.status == 503
            assert "outbox: a call has been owed for" in told.text


async def test_a_sidecar_that_stops_is_not_ready(tmp_path: Path) -> None:
    async with scene(tmp_path, console=ON) as running, operator(running.sidecar.console_url) as asks:
        running.sidecar.stopping = True
        told = await asks.ask("/readyz")
        assert (told.status, told.text.splitlines()[0]) == (503, "process: stopping")


async def test_reasons_are_for_those_who_have_the_token(tmp_path: Path) -> None:
    async with scene(tmp_path, console={**ON, "token": "s3cret"}) as running:
        running.sidecar.stopping = True
        url = running.sidecar.console_url
        async with operator(url) as stranger, operator(url, "s3cret") as friend:
            assert (await stranger.ask("/readyz")).text.startswith(f"process: {health.UNTOLD}\n")
            assert (await friend.ask("/readyz")).text.startswith("process: stopping\n")
