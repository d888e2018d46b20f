"""The JSON API: what is seen, what is done, and that every answer is as its document describes."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from sidecar.console import events as events_module
from tests.fakes.operator import operator
from tests.fakes.scene import scene
from tests.integration.console.abandoning import PATIENCE_S, abandon, leave_dead, stream

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.openapi import Document
    from tests.fakes.operator import Operator, Told
    from tests.fakes.scene import Scene


class Checked:
    """An operator whose every answer is held against the document."""

    def __init__(self, asks: Operator, document: Document) -> None:
        self._asks = asks
        self._document = document

    async def get(self, path: str) -> Told:
        told = await self._asks.ask(path)
        self._document.check("GET", path, told)
        return told

    async def post(self, path: str, body: object | None = None) -> Told:
        told = await self._asks.ask(path, "POST", json={} if body is None else body)
        self._document.check("POST", path, told)
        return told


@pytest.fixture
def api(asks: Operator, document: Document) -> Checked:
    return Checked(asks, document)


async def the_turn(api: Checked) -> dict[str, Any]:
    (turn,) = (await api.get("/api/turns")).json["turns"]
    assert isinstance(turn, dict)
    return turn


async def the_step(api: Checked, state: str) -> dict[str, Any]:
    (step,) = (await api.get(f"/api/outbox?state={state}")).json["steps"]
    assert isinstance(step, dict)
    return step


async def test_the_document_is_an_openapi_document(document: Document) -> None:
    OpenAPIV31SpecValidator(document.document).validate()
    assert all(path.startswith("/api/") for _, path in document.operations())


async def test_what_is_not_described_would_be_found(api: Checked) -> None:
    del api._document.document["paths"]["/api/turns"]["get"]["responses"]["200"]
    with pytest.raises(AssertionError, match="not described"):
        await api.get("/api/turns")


async def test_a_turn_and_its_full_history(running: Scene, api: Checked) -> None:
    await abandon(running)
    turn = await the_turn(api)
    assert (turn["state"], turn["cause"], turn["request_id"], turn["cancellable"]) == (
        "cancelled",
        "closed",
        "r1",
        False,
    )
    detail = (await api.get(f"/api/turns/{turn['id']}")).json
    assert detail["turn"] == turn
    assert [step["kind"] for step in detail["steps"]] == ["cancel", "rollback"]
    assert detail["steps"][1]["call"] == "DELETE /admin/conversations/{conversation_id}"
    assert detail["steps"][1]["to"] == running.admin.url
    assert [entry["what"] for entry in detail["history"]] == [
        "opened",
        "answer_began",
        "cancelled",
        "upstream_closed",
        "owed",
        "owed",
        "step_delivered",
        "step_delivered",
        "settled",
    ]


async def test_turns_are_filtered_and_paged(running: Scene, api: Checked) -> None:
    clients = [await stream(running, f"r{number}", f"c{number}") for number in range(5)]
    pages, path = [], "/api/turns?limit=2&state=open"
    while True:
        page = (await api.get(path)).json
        pages.append([turn["request_id"] for turn in page["turns"]])
        if page["next"] is None:
            break
        path = f"/api/turns?limit=2&state=open&before={page['next']}"
    assert pages == [["r4", "r3"], ["r2", "r1"], ["r0"]]
    assert (await api.get("/api/turns?state=completed")).json["turns"] == []
    assert (await api.get("/api/turns?cause=closed")).json["turns"] == []
    assert len((await api.get("/api/turns?route=/api/ai-coach/chat")).json["turns"]) == 5
    assert (await api.get("/api/turns?route=/other")).json["turns"] == []
    for client in clients:
        client.close()


async def test_a_stream_is_cancelled(running: Scene, api: Checked) -> None:
    client = await stream(running)
    turn = await the_turn(api)
    assert turn["cancellable"]
    assert (await api.post(f"/api/turns/{turn['id']}/cancel")).status == 202
    assert (await running.turn_in("cancelled", PATIENCE_S))["cause"] == "operator"
    refused = await api.post(f"/api/turns/{turn['id']}/cancel")
    assert (refused.status, refused.json["mend"]) == (409, "There is nothing to cancel.")
    client.close()


async def test_a_dead_step_is_tried_again(running: Scene, api: Checked) -> None:
    await leave_dead(running)
    step = await the_step(api, "dead")
    assert (step["kind"], step["attempts"], step["error"]) == ("rollback", 1, "answered 503")
    running.admin.answers.clear()
    assert (await api.post(f"/api/outbox/{step['id']}/retry")).status == 202
    await running.turn_in("cancelled", PATIENCE_S)
    assert (await api.post(f"/api/outbox/{step['id']}/retry")).status == 409


async def test_all_dead_steps_are_tried_again(running: Scene, api: Checked) -> None:
    await leave_dead(running)
    running.admin.answers.clear()
    assert (await api.post("/api/outbox/retry-dead")).json == {"retried": 1}
    await running.turn_in("cancelled", PATIENCE_S)


async def test_a_dead_step_is_dropped_and_the_journal_keeps_who_and_why(running: Scene, api: Checked) -> None:
    await leave_dead(running)
    step = await the_step(api, "dead")
    for nothing in ({}, {"reason": "  "}, {"reason": 7}, {"reason": "x" * 501}, {"reason": "ok", "more": 1}):
        assert (await api.post(f"/api/outbox/{step['id']}/drop", nothing)).status == 400
    assert (await api.post(f"/api/outbox/{step['id']}/drop", {"reason": " removed by hand "})).status == 202
    async with asyncio.timeout(PATIENCE_S):
        while not (await api.get("/api/outbox?state=dropped")).json["steps"]:  # noqa: ASYNC110  (an answer sets no event)
            await asyncio.sleep(0.01)
    dropped = await the_step(api, "dropped")
    assert dropped["error"] == "removed by hand (console)"
    history = (await api.get(f"/api/turns/{step['turn_id']}")).json
    assert history["turn"]["state"] == "unresolved"
    assert history["history"][-2]["what"] == "step_dropped"
    assert (await api.post(f"/api/outbox/{step['id']}/drop", {"reason": "again"})).status == 409


@pytest.mark.parametrize(
    ("path", "mention"),
    [
        ("/api/turns?state=odd", "'state'"),
        ("/api/turns?limit=0", "'limit'"),
        ("/api/turns?limit=501", "'limit'"),
        ("/api/turns?odd=1", "'odd'"),
        ("/api/turns?before=odd", "'before'"),
        ("/api/turns?before=nan,x", "'before'"),
        ("/api/outbox?before=-1", "'before'"),
    ],
)
async def test_what_cannot_be_used_is_named(api: Checked, path: str, mention: str) -> None:
    told = await api.get(path)
    assert told.status == 400
    assert mention in told.json["detail"]
    assert told.json["mend"]


async def test_what_is_not_there(api: Checked) -> None:
    assert (await api.get("/api/turns/nobody")).status == 404
    assert (await api.post("/api/turns/nobody/cancel")).status == 404
    assert (await api.post("/api/outbox/99/retry")).status == 409
    assert (await api.post("/api/outbox/odd/retry")).status == 400
    assert (await api.post("/api/outbox/99999999999999999999/retry")).status == 400


async def test_the_settings_in_force_without_secrets(tmp_path: Path) -> None:
    admin = {
        "headers": {"Authorization": "Bearer s3cret"},
        "cancel": {
            "method": "POST",
            "path": "/stop/{request_id}?key=s3cret",
            "headers": {"X-Key": "s3cret"},
            "json": {"key": "s3cret", "of": ["s3cret"]},
        },
    }
    console = {"address": "127.0.0.1:0", "token": "s3cret"}
    async with (
        scene(tmp_path, console=console, admin=admin) as running,
        operator(running.sidecar.console_url, "s3cret") as asks,
    ):
        told = await asks.ask("/api/config")
        assert told.status == 200
        assert "s3cret" not in told.text
        settings = told.json["settings"]
        assert settings["console"]["token"] == "***"
        assert settings["admin"]["headers"] == {"Authorization": "***"}
        assert settings["admin"]["cancel"]["path"] == "/stop/{request_id}?key=***"
        assert settings["admin"]["cancel"]["json"] == {"key": "***", "of": ["***"]}
        assert settings["chat"][0]["capture"]["request_id"] == ["request.header:X-Request-Id"]


async def test_a_reload_without_a_file_says_so(running: Scene, api: Checked) -> None:
    running.expected_errors.add("reload_refused")
    told = await api.post("/api/reload")
    assert told.status == 200
    assert "no configuration file" in told.json["problems"][0]


async def test_the_overview(running: Scene, api: Checked) -> None:
    await leave_dead(running)
    client = await stream(running, "r2", "c2")
    seen = (await api.get("/api/overview")).json
    assert seen["ready"] == {"process": None, "upstream": None, "journal": None, "outbox": None}
    assert [turn["request_id"] for turn in seen["live"]["turns"]] == ["r2"]
    assert seen["live"]["count"] == 1
    assert sum(minute.get("closed", 0) for minute in seen["cancels"]["minutes"]) == 1
    assert len(seen["cancels"]["minutes"]) == 60
    assert {latency["name"] for latency in seen["latencies"]} == {"upstream_closed", "cancel"}
    assert seen["outbox"]["counts"] == {"dead": 1}
    assert [step["kind"] for step in seen["outbox"]["dead"]] == ["rollback"]
    client.close()


async def test_events_tell_of_what_changes(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "INTERVAL_S", 0.01)
    async with (
        operator(running.sidecar.console_url) as asks,
        asyncio.timeout(PATIENCE_S),
        asks.session.get(f"{asks.url}/api/events") as response,
    ):
        assert response.content_type == "text/event-stream"

        async def news() -> Any:  # noqa: ANN401  (JSON)
            while True:
                line = await response.content.readline()
                if line.startswith(b"data: "):
                    return json.loads(line[6:])

        assert (await news())["live"]["count"] == 0
        client = await stream(running)
        while (seen := await news())["live"]["count"] == 0:
            pass
        assert seen["live"]["turns"][0]["request_id"] == "r1"
        client.close()
        while not any(seen["cancels"]["minutes"]):
            seen = await news()


async def test_only_so_many_may_listen(
    running: Scene, asks: Operator, document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "LISTENERS_MAX", 1)
    async with asks.session.get(f"{running.sidecar.console_url}/api/events") as response:
        await response.content.readline()
        refused = await asks.ask("/api/events")
        assert refused.status == 503
        document.check("GET", "/api/events", refused)


async def test_a_journal_that_cannot_be_written_is_told_with_a_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.journal.connection.BUSY_TIMEOUT_S", 0.01)
    async with (
        scene(tmp_path, console={"address": "127.0.0.1:0"}) as running,
        operator(running.sidecar.console_url) as asks,
    ):
        running.expected_errors.add("journal_retry")  # a change that nobody waits for may meet the lock, too
        client = await stream(running)
        (turn,) = (await asks.ask("/api/turns")).json["turns"]
        async with running.journal_locked():
            told = await asks.ask(f"/api/turns/{turn['id']}/cancel", "POST", json={})
        assert told.status == 503
        assert "journal" in told.json["detail"]
        assert told.json["mend"]
        client.close()
        await running.turn_in("cancelled", PATIENCE_S)
