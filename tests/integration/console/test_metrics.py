"""/metrics: each figure moves when what it counts comes about, and no figure is undocumented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.fakes.operator import operator
from tests.fakes.scene import scene
from tests.fakes.waiting import eventually
from tests.integration.console.abandoning import PATIENCE_S, abandon, stream

if TYPE_CHECKING:
    from tests.fakes.operator import Operator
    from tests.fakes.scene import Scene

ON = {"address": "127.0.0.1:0"}
PAGE: Final = (Path(__file__).parents[3] / "docs" / "METRICS.md").read_text()
CHAT = {"route": "/api/ai-coach/chat"}


async def test_an_abandoned_turn(running: Scene, asks: Operator) -> None:
    await abandon(running)
    assert await asks.figure("sidecar_turns_opened_total", **CHAT) == 1
    assert await asks.figure("sidecar_turns_cancelled_total", **CHAT, cause="closed") == 1
    assert await asks.figure("sidecar_turns_settled_total", **CHAT, cause="closed", state="cancelled") == 1
    assert await asks.figure("sidecar_answer_begin_seconds_count", **CHAT) == 1
    assert await asks.figure("sidecar_answer_seconds_count", **CHAT) == 0
    assert await asks.figure("sidecar_upstream_close_seconds_count") == 1
    for step in ("cancel", "rollback"):
        assert await asks.figure("sidecar_undo_seconds_count", step=step) == 1
        assert await asks.figure("sidecar_step_attempts_total", step=step, result="delivered") == 1
    assert await asks.figure("sidecar_exchanges_total", status="499") == 1
    assert await asks.figure("sidecar_journal_commit_seconds_count") >= 3
    assert await asks.figure("sidecar_journal_commit_changes_sum") >= 3


async def test_a_delivered_turn(running: Scene, asks: Operator) -> None:
    client = await running.client()
    await client.chat("X-Request-Id: r1")
    peer, _ = await running.upstream.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await client.answer()
    await running.turn_in("completed", PATIENCE_S)
    assert await asks.figure("sidecar_turns_settled_total", **CHAT, cause="none", state="completed") == 1
    assert await asks.figure("sidecar_answer_seconds_count", **CHAT) == 1
    assert await asks.figure("sidecar_turns_cancelled_total") == 0
    await running.exchange_line()
    assert await asks.figure("sidecar_exchanges_total", status="2xx") == 1


async def test_what_is_under_way(running: Scene, asks: Operator) -> None:
    client = await running.client()
    await client.chat("X-Request-Id: r1")
    peer, _ = await running.upstream.request()
    for size in ("live_turns", "open_exchanges", "open_connections"):
        assert await asks.figure(f"sidecar_{size}") == 1, size
    client.close()
    await running.turn_in("cancelling", PATIENCE_S)  # its id may still be told
    assert await asks.figure("sidecar_draining_answers") == 1
    peer.close()
    await running.turn_in("unresolved", PATIENCE_S)
    assert await asks.figure("sidecar_live_turns") == 0
    assert await asks.figure("sidecar_unseen_answers_total", **CHAT, cause="closed") == 1


async def test_what_is_owed(tmp_path: Path) -> None:
    async with scene(tmp_path, console=ON) as running, operator(running.sidecar.console_url) as asks:
        await _see_what_is_owed(running, asks)


async def _see_what_is_owed(running: Scene, asks: Operator) -> None:
    running.admin.answers["DELETE /admin/conversations/c1"] = 503
    (await stream(running)).close()
    await running.turn_in("cancelling", PATIENCE_S)
    await eventually(lambda: "DELETE /admin/conversations/c1" in running.admin.lines, PATIENCE_S)
    # The rollback does not wait for what the cancel call came to to be on the disk.
    await eventually(lambda: [row["state"] for row in running.steps()][:1] == ["delivered"], PATIENCE_S)
    figures = await asks.figures()
    depth = {sample.labels["state"]: sample.value for sample in figures["sidecar_outbox_steps"].samples}
    assert depth["pending"] + depth["leased"] == 1
    assert depth["dead"] == 0
    assert await asks.figure("sidecar_outbox_oldest_age_seconds") > 0
    running.admin.answers.clear()


async def test_an_upstream_that_cannot_be_reached_is_a_relay_error(tmp_path: Path) -> None:
    async with scene(tmp_path, console=ON, upstream={"url": "http://127.0.0.1:1"}) as running:
        client = await running.client()
        await client.get("/")
        assert (await client.answer()).status == 502
        await running.exchange_line()
        async with operator(running.sidecar.console_url) as asks:
            assert await asks.figure("sidecar_relay_errors_total", kind="upstream_unreachable") == 1
            assert await asks.figure("sidecar_exchanges_total", status="5xx") == 1


async def test_openmetrics_where_it_is_preferred(asks: Operator) -> None:
    told = await asks.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert told.headers["content-type"].startswith("application/openmetrics-text")
    assert told.text.endswith("# EOF\n")


async def test_every_figure_is_documented_and_every_documented_figure_is_there(asks: Operator) -> None:
    told = {name.removesuffix("_created") for name in await asks.figures()}
    documented = {name.removesuffix("_total") for name in re.findall(r"`((?:sidecar|process)_\w+)`", PAGE)}
    assert told == documented


def test_every_figure_of_a_turns_life_stands_on_a_diagram() -> None:
    diagrams = "".join(re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    shown = set(re.findall(r"\[(\w+)\]", diagrams))
    listed = set(re.findall(r"^\| (\w+) \| `sidecar_", PAGE, re.MULTILINE))
    assert shown
    assert shown == listed
