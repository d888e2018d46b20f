"""One principal may have so much under way, ask so often, and have so much remembered; others are none the worse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.fakes.downstream import ALICE
from tests.fakes.scene import scene
from tests.fakes.waiting import eventually
from tests.integration.chat.talk import begin, cancel

if TYPE_CHECKING:
    from pathlib import Path

BOB = "Bearer bob"


async def test_one_turn_too_many_is_a_429_and_no_turn(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"turns_per_principal_max": 1}) as running:
        talk = await begin(running, request_id="r1")
        client = await running.client()
        await client.chat("X-Request-Id: r2")
        answer = await client.answer()
        assert (answer.status, answer.get("Retry-After"), answer.get("X-Request-Id")) == (429, b"1", b"r2")
        assert json.loads(answer.body)["error"] == "too_many"
        assert len(running.turns()) == 1
        other = await running.client()
        await other.chat("X-Request-Id: r3", f"Authorization: {BOB}")
        await running.upstream.request()
        talk.client.close()
        await running.exchange_line(1)
        await client.chat("X-Request-Id: r4")
        await running.upstream.request()


async def test_who_brings_no_identity_is_not_counted(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"turns_per_principal_max": 1, "identity": ["X-User"]}) as running:
        for number in range(3):
            client = await running.client()
            await client.chat(f"X-Request-Id: r{number}")
            await running.upstream.request()
        await eventually(lambda: len(running.turns()) == 3)


async def test_who_asks_to_cancel_too_often_gets_a_429(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"cancels_per_minute_max": 2}) as running:
        for number in range(2):
            assert (await cancel(running, {"requestId": f"r{number}"}))[0] == 202
        status, body = await cancel(running, {"requestId": "r3"})
        assert (status, json.loads(body)["error"]) == (429, "too_many")
        assert (await cancel(running, {"requestId": "r3"}, who=BOB))[0] == 202


async def test_one_principal_has_only_so_much_remembered(tmp_path: Path) -> None:
    async with scene(tmp_path, journal={"tombstones_per_principal_max": 2}) as running:
        talk = await begin(running, request_id="r9")
        for number in range(2):
            assert (await cancel(running, {"requestId": f"r{number}"}))[0] == 202
        assert (await cancel(running, {"requestId": "r3"}))[0] == 429
        assert (await cancel(running, {"requestId": "r3"}, who=BOB))[0] == 202
        assert (await cancel(running, {"requestId": "r9"}, who=ALICE))[0] == 200
        await talk.client.gone()
