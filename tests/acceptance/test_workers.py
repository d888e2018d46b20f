"""Several processes on one address and one journal: whatever happens to a turn, it happens as in one process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.acceptance.stage import CANCEL, ROLLBACK, Chat, Stage, stage
from tests.fakes.admin import AdminFake
from tests.fakes.downstream import Downstream
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

WORKERS = 2
LIVE = 100
LONG_S = 30.0


def two_workers(
    folder: Path, console: dict[str, Any] | None = None, **listen: float | str
) -> AbstractAsyncContextManager[Stage]:
    return stage(folder, listen={"workers": WORKERS, **listen}, console=console or {})


async def kill(running: Stage, worker: int) -> None:
    """Kill a worker, once all that was told so far stands in the journal."""
    await eventually(lambda: all(turn["conversation_id"] for turn in running.turns()), LONG_S)
    os.kill(pids(running)[worker], signal.SIGKILL)


def pids(running: Stage) -> dict[int, int]:
    """Give the process ids of the workers, by their numbers; the last to listen is the one that runs."""
    return {line["worker"]: line["pid"] for line in running.process.log("worker_listening")}


def owner(running: Stage, request_id: str) -> int:
    number: int = next(turn["owner"] for turn in running.turns() if turn["request_id"] == request_id)
    return number


async def one_each(running: Stage, name: str = "r") -> dict[int, Chat]:
    """Have clients ask until each worker has an answer under way; give one chat of each, while others leave."""
    chats: dict[int, Chat] = {}
    for number in range(64):
        chat = await running.answering(request_id=f"{name}{number}", conversation_id=f"c{number}")
        worker = owner(running, f"{name}{number}")
        if worker in chats:
            chats[worker].client.close()
        chats[worker] = chat
        if len(chats) == WORKERS:
            return chats
    raise AssertionError("the kernel never chose the other worker")


async def asked_at(running: Stage, worker: int, request_id: str) -> tuple[int, bytes]:
    """Ask to cancel until that worker is the one that takes the request; give what it answered.

    Each try is a connection of its own. What another worker is asked is of no consequence: nobody has that id.
    """
    for number in range(64):
        client = await running.client()
        before, asked = len(cancels(running, worker)), len(running.process.log("cancel"))
        await client.cancel({"requestId": f"nobody-{number}"})
        await client.answer()
        await eventually(partial(logged_more, running, asked))
        if len(cancels(running, worker)) > before:
            await client.cancel({"requestId": request_id})
            answer = await client.answer()
            return answer.status, answer.body
    raise AssertionError("the kernel never chose that worker")


def logged_more(running: Stage, than: int) -> bool:
    return len(running.process.log("cancel")) > than


def cancels(running: Stage, worker: int) -> list[dict[str, Any]]:
    return [line for line in running.process.log("cancel") if line["worker"] == worker]


async def test_a_cancel_reaches_the_worker_that_has_the_stream(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as running:
        chats = await one_each(running)
        for worker in chats:
            other = 1 - worker
            request_id = request_of(running, worker)
            assert await asked_at(running, other, request_id) == (200, b'{"status": "cancelled"}')
            assert await chats[worker].client.rest() == b""
            turn = await running.turn_in("cancelled", request_id=request_id, timeout_s=LONG_S)
            assert (turn["cause"], turn["owner"]) == ("requested", worker)
            assert await asked_at(running, other, request_id) == (200, b'{"status": "cancelled"}')  # twice
        for worker in chats:
            number = request_of(running, worker).removeprefix("r")
            assert running.admin.lines.count(CANCEL.replace("r1", f"r{number}")) == 1
            assert running.admin.lines.count(ROLLBACK.replace("c1", f"c{number}")) == 1


def request_of(running: Stage, worker: int) -> str:
    """Give the request that was the last to be owned by a worker."""
    found: str = [turn["request_id"] for turn in running.turns() if turn["owner"] == worker][-1]
    return found


async def test_a_cancel_that_comes_first_holds_at_every_worker(tmp_path: Path) -> None:
    """Whichever worker is asked, and whichever gets the request: it goes nowhere."""
    async with two_workers(tmp_path) as running:
        for worker in range(WORKERS):
            for number in range(8):
                request_id = f"first-{worker}-{number}"
                status, _ = await asked_at(running, worker, request_id) if number == 0 else (202, b"")
                if number:
                    client = await running.client()
                    await client.cancel({"requestId": request_id})
                    status = (await client.answer()).status
                assert status == 202
                client = await running.client()
                await client.chat(f"X-Request-Id: {request_id}")
                assert (await client.answer()).status == 409
        assert {turn["state"] for turn in running.turns()} == {"cancelled"}
        assert {turn["owner"] for turn in running.turns()} == {0, 1}
        assert running.upstream.nobody_came()


async def test_a_killed_worker_is_replaced_and_its_turns_are_undone(tmp_path: Path) -> None:
    """The other worker's streams go on; a conversation that the dead one began is rolled back, exactly once."""
    async with two_workers(tmp_path) as running:
        chats = [
            await running.answering(request_id=f"r{number}", conversation_id=f"c{number}") for number in range(LIVE)
        ]
        owners = {turn["request_id"]: turn["owner"] for turn in running.turns()}
        assert set(owners.values()) == {0, 1}
        await kill(running, 0)
        await eventually(lambda: len(running.process.log("worker_listening")) > WORKERS, LONG_S)
        assert pids(running)[0] != running.process.log("worker_listening")[0]["pid"]
        for number, chat in enumerate(chats):
            if owners[f"r{number}"] == 0:
                await running.turn_in("cancelled", request_id=f"r{number}", timeout_s=LONG_S)
            else:
                await chat.say(b"a time")
                await chat.end()
                await running.turn_in("completed", request_id=f"r{number}", timeout_s=LONG_S)
        rolled_back = [line for line in running.admin.lines if line.startswith("DELETE")]
        dead = [request_id for request_id, worker in owners.items() if worker == 0]
        assert sorted(rolled_back) == sorted(f"DELETE /admin/conversations/c{one[1:]}" for one in dead)
        assert [line["code"] for line in running.process.log("worker_ended")] == [-signal.SIGKILL]
        chat = await running.answering(request_id="after", conversation_id="after")
        await chat.end()
        assert await running.process.terminate() == 0


async def test_an_operator_cancels_at_whichever_worker(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as running:
        for worker in await one_each(running):
            request_id = request_of(running, worker)
            turn_id = next(turn["id"] for turn in running.turns() if turn["request_id"] == request_id)
            assert await run_cli("turns", "cancel", "-c", str(running.process.config), turn_id) == 0
            turn = await running.turn_in("cancelled", request_id=request_id, timeout_s=LONG_S)
            assert turn["cause"] == "operator"


async def run_cli(*arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", *arguments, stdout=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


async def test_killed_itself_the_parent_takes_its_workers_along(tmp_path: Path) -> None:
    """So that a restart owns the journal, and recovers what they left."""
    async with two_workers(tmp_path) as running:
        await one_each(running)
        before = set(pids(running).values())
        await eventually(lambda: all(turn["conversation_id"] for turn in running.turns()), LONG_S)
        await running.process.kill()
        await eventually(lambda: not any(map(alive, before)), LONG_S)
        await running.process.start()
        states = await running.process.until_settled(LONG_S)
        assert set(states.values()) == {"cancelled"}
        rolled_back = {line for line in running.admin.lines if line.startswith("DELETE")}  # one may have been under way
        assert rolled_back == {f"DELETE /admin/conversations/c{one[1:]}" for one in states}


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


async def test_told_to_stop_all_let_their_answers_end(tmp_path: Path) -> None:
    async with two_workers(tmp_path, shutdown_grace_s=LONG_S) as running:
        chats = await one_each(running)
        running.process.signal(signal.SIGTERM)
        await eventually(lambda: len(running.process.log("stopping")) == 1 + WORKERS, LONG_S)
        for chat in chats.values():
            await chat.say(b"a time")
            await chat.end()
        assert await running.process.wait() == 0, running.process.log_text()
        assert {"completed", "cancelled"} >= set(running.process.turns().values())
        assert list(running.process.turns().values()).count("completed") == WORKERS


async def test_there_is_one_console_for_all_and_its_counts_never_fall(tmp_path: Path) -> None:
    async with two_workers(tmp_path, console={"address": "127.0.0.1:0"}) as running:
        chats = await one_each(running)
        opened = len(running.turns())
        assert (await figures(running))["sidecar_turns_opened_total"] == opened
        await kill(running, 0)
        await eventually(lambda: len(running.process.log("worker_listening")) > WORKERS, LONG_S)
        counted = await figures(running)
        assert counted["sidecar_turns_opened_total"] == opened
        assert counted["sidecar_turns_cancelled_total"] >= 1  # by recovery
        assert b"process: ok" in await console(running, "/readyz")
        await chats[1].end()
        assert await running.process.terminate() == 0


async def figures(running: Stage) -> dict[str, float]:
    """Read the figures, each summed over its labels."""
    sums: dict[str, float] = {}
    for line in (await console(running, "/metrics")).decode().splitlines():
        if not line.startswith("#"):
            name, _, number = line.rpartition(" ")
            name = name.partition("{")[0]
            sums[name] = sums.get(name, 0.0) + float(number)
    return sums


async def console(running: Stage, path: str) -> bytes:
    client = await Downstream.connect(running.process.log("console")[0]["address"])
    host = running.process.log("console")[0]["address"].removeprefix("http://")
    await client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = await client.answer()
    client.close()
    assert answer.status == 200, answer.body
    return answer.body


async def test_a_reload_reaches_every_worker(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as running, AdminFake.listening() as other:
        chats = await one_each(running)
        for chat in chats.values():
            chat.client.close()
        await running.process.until_settled(LONG_S)
        running.process.edit(running.admin.url, other.url)
        await running.process.reload()
        chats = await one_each(running, "again")
        for worker in chats:
            chats[worker].client.close()
            await running.turn_in("cancelled", request_id=request_of(running, worker), timeout_s=LONG_S)
        owners = {
            turn["owner"]
            for turn in running.turns()
            if f"POST /admin/requests/{turn['request_id']}/cancel" in other.lines
        }
        assert owners == {0, 1}


async def test_a_unix_socket_is_one_for_all(tmp_path: Path) -> None:
    """Whoever of them is killed, the socket stays, and another accepts."""
    address = f"unix:{tmp_path}/http.sock"
    async with two_workers(tmp_path, address=address) as running:
        assert running.process.log("listening")[0]["address"] == address
        chat = await running.answering(client=await running.client(url=address))
        await kill(running, owner(running, "r1"))
        await running.turn_in("cancelled", timeout_s=LONG_S)
        chat = await running.answering(client=await running.client(url=address), request_id="r2")
        await chat.end()
        await running.turn_in("completed", request_id="r2", timeout_s=LONG_S)
        assert await running.process.terminate() == 0
        assert not (tmp_path / "http.sock").exists()
