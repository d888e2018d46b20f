"""SIGHUP: what begins is under another configuration, what is under way does not notice; a bad one is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.acceptance.stage import PLAIN, Chat, stage
from tests.acceptance.visitors import CLIENTS, answer_all, come_again, more_are_answered
from tests.fakes.admin import AdminFake
from tests.fakes.downstream import ALICE
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.downstream import Downstream

RELOADS = 6
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_what_begins_takes_the_new_one_and_what_is_under_way_goes_on(tmp_path: Path) -> None:
    """Routes, upstream, admin API and log level change while an answer streams; a kept connection takes part."""
    async with stage(tmp_path) as running, Upstream.listening() as other, AdminFake.listening() as other_admin:
        process = running.process
        kept = await running.client()
        await kept.get("/before")
        peer, _ = await running.upstream.request()
        await peer.send(ANSWER)
        assert (await kept.answer()).body == b"ok"
        chat = await running.answering()

        process.edit(running.upstream.url, other.url)
        process.edit(running.admin.url, other_admin.url)
        process.edit("chat = [{  }]", 'chat = [{ "path" = "/v2/chat", "cancel_path" = "/v2/cancel" }]')
        process.edit('"format" = "json"', '"format" = "json", "level" = "warning"')
        told = await process.reload()

        assert told["changed"] == ["upstream.url", "admin.url", "chat", "log.level"]
        await chat.say(b"a time ")
        await kept.get("/after")
        peer, _ = await other.request()
        await peer.send(ANSWER)
        assert (await kept.answer()).body == b"ok"
        await leave_the_new_route(kept, other)
        await chat.end()
        await running.turn_in("completed")
        assert [line["path"] for line in process.log("exchange")] == ["/before"]  # from then on only warnings
        assert [turn["route"] for turn in running.turns()] == ["/api/ai-coach/chat", "/v2/chat"]
        await eventually(lambda: "DELETE /admin/conversations/c2" in other_admin.lines)
        assert running.admin.lines == []


async def leave_the_new_route(client: Downstream, other: Upstream) -> None:
    """Ask there, and leave mid-answer."""
    await client.chat("X-Request-Id: r2", f"Authorization: {ALICE}", target="/v2/chat")
    peer, _ = await other.request()
    chat = Chat(client, peer)
    await chat.answer(PLAIN, "X-Conversation-Id: c2")
    await chat.say(b"Once ")
    client.close()


async def test_a_bad_one_is_refused_with_every_problem_and_the_old_one_stays(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await running.answering()
        good = running.process.config.read_text()
        running.process.edit('"timeout_s" = 2', '"timeout_s" = -2, "tymeout" = 3')
        refused = await running.process.reload("reload_refused")
        assert [problem.partition(":")[0] for problem in refused["problems"]] == ["admin.timeout_s", "admin.tymeout"]
        assert all(";" in problem or "did you mean" in problem for problem in refused["problems"])
        running.process.config.write_text("[listen\n")
        refused = await running.process.reload("reload_refused")
        assert "is no TOML" in refused["problems"][0]
        running.process.config.unlink()
        refused = await running.process.reload("reload_refused")
        assert "no such file" in refused["problems"][0]
        running.process.config.write_text(good)
        assert (await running.process.reload())["changed"] == []
        await chat.say(b"a time.")
        await chat.end()
        await running.turn_in("completed")
        assert "Traceback" not in running.process.log_text()
        assert await running.process.terminate() == 0


async def test_what_only_a_start_can_change_is_named_and_the_rest_is_taken(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        running.process.edit(f"127.0.0.1:{running.process.port}", "127.0.0.1:1")
        running.process.edit("sidecar.db", "other.db")
        running.process.edit('"shutdown_grace_s" = 0.2', '"shutdown_grace_s" = 0.1')
        for _ in range(2):  # it is told each time, until it is started again
            told = await running.process.reload("takes_effect_at_the_next_start")
            assert (told["settings"], told["level"]) == (["listen.address", "journal.path"], "warning")
        assert [line["changed"] for line in running.process.log("reloaded")] == [["listen.shutdown_grace_s"], []]
        chat = await running.answering()
        await chat.end()
        await running.turn_in("completed")
        await running.end()
        assert running.process.log("stopping")[0]["grace_s"] == 0.1


async def test_limits_of_clean_up_act_at_once(tmp_path: Path) -> None:
    """A turn that is under way is overdue as soon as the configuration says so, not at the old one's next look."""
    async with stage(tmp_path) as running:
        await running.answering()
        running.process.edit('sidecar.db"', 'sidecar.db", "temp_ttl_s" = 0.2')
        await running.process.reload()
        turn = await running.turn_in("cancelled", timeout_s=20)
        assert turn["cause"] == "expired"


async def test_many_reloads_under_a_stream_end_in_order(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream={"connect_timeout_s": 1}) as running:
        chat = await running.answering()
        for number in range(1, 6):
            running.process.edit(f'"connect_timeout_s" = {number}', f'"connect_timeout_s" = {number + 1}')
            assert (await running.process.reload())["changed"] == ["upstream.connect_timeout_s"]
        await chat.say(b"on")
        await chat.end()
        await running.turn_in("completed")


async def test_under_load_no_request_is_lost(tmp_path: Path) -> None:
    """Clients come all the time, while one upstream takes the other's place, again and again."""
    one, two = [await asyncio.start_server(answer_all, "127.0.0.1", 0) for _ in range(2)]
    urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in (one, two)]
    async with one, two, stage(tmp_path) as running:
        process, over, answered = running.process, asyncio.Event(), [0]
        where = ("127.0.0.1", process.port)
        process.edit(running.upstream.url, urls[0])
        await process.reload()
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(come_again(where, over, answered))
            for number in range(RELOADS):
                await more_are_answered(answered)
                process.edit(urls[number % 2], urls[(number + 1) % 2])
                await process.reload()
            await more_are_answered(answered)
            over.set()
        await running.end()
        assert {line["status"] for line in process.log("exchange")} == {200}
