"""Tombstones: whom they stop, and how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.engine import tombstones as tombstones_module
from sidecar.engine.ports import Tombstone
from sidecar.engine.tombstones import Tombstones
from sidecar.turn.state import Plan, Turn

STONE = Tombstone(principal="p1", name="request_id", value="r1", expires_at=100.0)
CONVERSATION = replace(STONE, name="conversation_id", value="c1")
TURN = Turn(
    id="t1",
    route="/chat",
    principal="p1",
    begins=True,
    captured={"request_id": "r1", "conversation_id": "c1"},
    created_at=50.0,
    plan=Plan(),
)


def other(turn: Turn, **captured: str) -> Turn:
    return replace(turn, captured=captured)


def test_none_stands_for_nobody() -> None:
    assert not Tombstones().forestall(TURN)


def test_a_request_id_stops_its_request_whatever_it_is_about() -> None:
    stones = Tombstones([STONE])
    assert stones.forestall(TURN)
    assert stones.forestall(replace(TURN, begins=False))
    assert stones.forestall(other(TURN, request_id="r1"))
    assert not stones.forestall(other(TURN, request_id="r2"))


def test_a_conversation_id_stops_only_who_begins_it() -> None:
    stones = Tombstones([CONVERSATION])
    assert stones.forestall(TURN)
    assert not stones.forestall(replace(TURN, begins=False))
    assert not stones.forestall(other(TURN, request_id="r1"))
    assert not stones.forestall(other(TURN, request_id="r1", conversation_id="c2"))


@pytest.mark.parametrize("stone", [STONE, CONVERSATION])
def test_one_id_is_not_another_kind_of_id_nor_another_principals(stone: Tombstone) -> None:
    swapped = {"request_id": "c1", "conversation_id": "r1"}
    assert not Tombstones([stone]).forestall(replace(TURN, captured=swapped))
    assert not Tombstones([stone]).forestall(replace(TURN, principal="p2"))


def test_it_stands_until_it_expires_and_is_then_forgotten() -> None:
    stones = Tombstones([STONE])
    assert stones.forestall(replace(TURN, created_at=99.999))
    assert stones.forestall(replace(TURN, created_at=0.0))
    assert not stones.forestall(replace(TURN, created_at=100.0))
    assert len(stones._expiry) == 0


def test_a_second_one_lasts_longer_and_never_shorter() -> None:
    stones = Tombstones([STONE, replace(STONE, expires_at=200.0), replace(STONE, expires_at=20.0)])
    assert stones.forestall(replace(TURN, created_at=199.0))


def test_the_oldest_give_way_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tombstones_module, "TOMBSTONES_MAX", 3)
    stones = Tombstones(replace(STONE, value=f"r{number}") for number in range(4))
    stones.add(replace(STONE, value="r1"))  # asked again: it is young again
    stones.add(replace(STONE, value="r5"))
    standing = [number for number in range(6) if stones.forestall(other(TURN, request_id=f"r{number}"))]
    assert standing == [1, 3, 5]
