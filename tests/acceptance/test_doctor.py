"""A real `sidecar doctor` beside a real `sidecar run`, with and without something in front that spoils its work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.acceptance.ward import LEAVING, SLOW, ward
from tests.fakes.admin_faults import answering
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)


async def test_all_is_well_straight_to_the_sidecar_and_nothing_is_left(tmp_path: Path) -> None:
    async with ward(tmp_path, SLOW) as running:
        told = await running.doctor()
        assert (told.code, told.complaints) == (0, "")
        assert told.graded("fail") == set(), told.text
        assert told.graded("ok") >= {
            *("public_url", "listen", "upstream_url", "answered", "tracked", "buffered", "delivered", "request_id"),
            *("conversation_id", "captured", "clock", "keep_alive", *LEAVING, "cancel_endpoint"),
            *("admin_cancel", "admin_rollback", "admin_verify", "owed"),
        }, told.text
        assert "as reset" in told.findings["reset_mid_answer"]["what"]
        assert "as closed" in told.findings["close_mid_answer"]["what"]
        await eventually(lambda: running.backend.kept() == (), 20)
        assert len(running.backend.generations) == 6


async def test_it_is_readable_at_80_columns_and_says_first_that_it_costs(tmp_path: Path) -> None:
    async with ward(tmp_path) as running:
        told = await running.run("--yes", "--timeout-s", "20", COLUMNS="80")
    lines = told.text.splitlines()
    assert (told.code, told.complaints) == (0, "")
    assert "It costs tokens." in told.text.partition("The way there")[0]
    assert [line for line in lines[1:] if len(line) > 80] == []
    assert [line for line in lines if line.rstrip() != line] == []
    assert lines[-1] == "All is well." or lines[-1].startswith("It works; ")


async def test_a_source_that_never_answers(tmp_path: Path) -> None:
    capture = {"conversation_id": ["request.json:/conversationId", "response.header:X-Chat"]}
    async with ward(tmp_path, chat=[{"capture": capture}]) as running:
        told = await running.doctor()
    assert told.code == 1
    assert told.findings["captured"]["what"].endswith("admin calls need it: conversation_id")
    assert "chat.capture.conversation_id" in told.mends("captured")
    assert "response.header:X-Conversation-Id" in told.mends("captured"), "it has seen the one that would"
    assert "unresolved" in told.findings["owed"]["what"]


@pytest.mark.parametrize(
    ("status", "seen", "mend"),
    [
        (500, "answered 500", "see the admin API's own log"),
        (401, "answered 401", "give the admin API's credentials in admin.headers"),
        (404, "404", "mend its path"),
    ],
)
async def test_an_admin_api_that_fails(tmp_path: Path, status: int, seen: str, mend: str) -> None:
    async with ward(tmp_path, admin={"backoff_first_s": 0.05}) as running:
        running.backend.admin_fault = answering(status)
        told = await running.doctor()
    assert told.code == 1
    assert told.graded("fail") >= {"admin_cancel", "admin_rollback"}, told.text
    for check in ("admin_cancel", "admin_rollback"):
        assert seen in told.findings[check]["what"]
        assert mend in told.mends(check)


async def test_an_admin_api_that_says_done_and_does_nothing(tmp_path: Path) -> None:
    async def fault(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=204) if request.method == "DELETE" else None

    async with ward(tmp_path) as running:
        running.backend.admin_fault = fault
        told = await running.doctor()
    assert told.graded("fail") == {"admin_rollback", "owed"}, told.text
    assert "still shows the conversation" in told.findings["admin_rollback"]["what"]


async def test_headers_come_from_a_file_and_are_sent_with_each_chat(tmp_path: Path) -> None:
    headers = tmp_path / "headers.txt"
    headers.write_text("Authorization: Bearer alice\n\nX-Two: 2\n")
    async with ward(tmp_path) as running:
        told = await running.doctor(None, "--header", f"@{headers}")
        assert told.findings["cancel_endpoint"]["grade"] != "fail", "a stranger's cancel would not count"
        assert "alice" not in told.text


async def test_a_url_that_leads_elsewhere(tmp_path: Path) -> None:
    async with ward(tmp_path) as running:
        told = await running.doctor(running.backend.url)
    assert told.code == 1
    assert told.graded("fail") == {"tracked"}
    assert "journal.path" in told.mends("tracked")


async def test_a_chat_that_is_refused_ends_the_examination(tmp_path: Path) -> None:
    async with ward(tmp_path) as running:
        told = await running.doctor(None, "--route", "/api/ai-coach/chat?status=401")
        assert len(running.sidecar.turns()) == 1
    assert told.code == 1
    assert told.findings["answered"]["what"].startswith("the chat was answered 401")
    assert told.mends("answered") == "give the client's credentials, with --header 'Authorization: ...'"


async def test_nobody_there(tmp_path: Path) -> None:
    async with ward(tmp_path) as running:
        told = await running.doctor("http://127.0.0.1:9")
        assert told.graded("fail") == {"public_url"}
        await running.sidecar.terminate()
        told = await running.doctor()
    assert told.graded("fail") == {"public_url", "listen"}
    assert "start it with sidecar run" in told.mends("listen")


async def test_clients_that_leave_are_put_up_with(tmp_path: Path) -> None:
    async with ward(tmp_path, chat=[{"on": {"closed": "complete"}}]) as running:
        told = await running.doctor()
    assert told.code == 0
    assert told.findings["leaving"]["grade"] == "skip"
    assert not told.findings.keys() & set(LEAVING)
