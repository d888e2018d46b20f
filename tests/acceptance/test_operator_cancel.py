"""`sidecar turns cancel`: the operator's hand reaches a stream that another process holds."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.acceptance.crowd import Client, Way

if TYPE_CHECKING:
    from sidecar.demo.backend import LegacyBackend
    from tests.acceptance.process import SidecarProcess


async def command(sidecar: SidecarProcess, *words: str) -> tuple[int, str]:
    """Run a command beside the sidecar; give its exit code and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sidecar",
        *words,
        "-c",
        str(sidecar.config),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_a_stream_under_way_is_cut_off_and_rolled_back(backend: LegacyBackend, sidecar: SidecarProcess) -> None:
    client = Client("req_1", Way.FIN_MID, leaves_after=1000)
    chatting = asyncio.ensure_future(client.chat(sidecar.port))
    await backend.until(lambda: any(record.words_made > 1 for record in backend.generations.values()))
    code, listed = await command(sidecar, "turns", "list", "--json")
    assert code == 0
    turn_id = json.loads(listed)[0]["id"]

    assert await command(sidecar, "turns", "cancel", turn_id) == (0, f"turn {turn_id} will be cancelled\n")

    async with asyncio.timeout(10):
        await chatting
    assert await sidecar.until_settled(10) == {"req_1": "cancelled"}
    assert not client.complete
    assert backend.kept() == ()
    assert [entry["cause"] for entry in sidecar.log("exchange")] == ["operator"]
    code, told = await command(sidecar, "turns", "cancel", turn_id)
    assert (code, told.count("\n")) == (2, 1), told


async def test_an_owed_call_is_dropped_with_a_reason(backend: LegacyBackend, sidecar: SidecarProcess) -> None:
    backend.knobs = replace(backend.knobs, admin_token="another")
    client = Client("req_1", Way.FIN_MID, leaves_after=2)
    await client.chat(sidecar.port)

    async def listed() -> list[dict[str, object]]:
        _, text = await command(sidecar, "outbox", "list", "--json")
        rows: list[dict[str, object]] = json.loads(text)
        return rows

    step_ids = [str(row["id"]) for row in await listed()]
    assert step_ids
    for step_id in step_ids:
        dropped = await command(sidecar, "outbox", "drop", step_id, "--reason", "the backend is retired")
        assert dropped == (0, f"step {step_id} will be dropped\n")
    assert await sidecar.until_settled(10) == {"req_1": "unresolved"}
    assert {(row["state"], row["error"]) for row in await listed()} == {
        ("dropped", "the backend is retired (command line)")
    }
    code, told = await command(sidecar, "outbox", "drop", step_ids[0], "--reason", "again")
    assert (code, told.count("\n")) == (2, 1), told
