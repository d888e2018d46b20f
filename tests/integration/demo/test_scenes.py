"""The chats of the demo, as far as they can be played without the sidecar."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar.demo import scenes
from sidecar.demo.backend import BackendKnobs
from sidecar.demo.scenes import Deed, Entrance, play_chats

if TYPE_CHECKING:
    import pytest

    from sidecar.demo.backend import LegacyBackend

KNOBS = BackendKnobs(words=14, word_s=0.01, think_s=0.1)


async def test_straight_to_the_backend_all_three_are_kept_and_two_are_ghosts(backend: LegacyBackend) -> None:
    backend.knobs = KNOBS
    leftovers = await play_chats(Entrance(url=backend.url, backend=backend, guarded=False))
    assert [(left.deed, left.ghost, left.words_made, left.words, left.trouble) for left in leftovers] == [
        (Deed.READ, False, 14, 14, None),
        (Deed.LEFT, True, 14, 14, None),
        (Deed.CANCELLED, True, 14, 14, None),
    ]
    assert {left.kept for left in leftovers} == set(backend.kept())
    closed = [record.connection_closed_at is not None for record in backend.generations.values()]
    assert sorted(closed) == [False, True, True]


async def test_a_sidecar_that_does_nothing_is_found_out(
    backend: LegacyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "DEADLINE_S", 1.0)
    backend.knobs = KNOBS
    leftovers = await play_chats(Entrance(url=backend.url, backend=backend, guarded=True))
    assert [left.ghost for left in leftovers] == [False, True, True]
    (trouble,) = [left.trouble for left in leftovers if left.trouble]
    assert "404" in trouble


async def test_a_backend_that_refuses_is_told_as_trouble(
    backend: LegacyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "DEADLINE_S", 0.2)
    backend.knobs = replace(KNOBS, status=503)
    leftovers = await play_chats(Entrance(url=backend.url, backend=backend, guarded=False))
    assert [left.kept for left in leftovers] == [None, None, None]
    assert all(left.trouble for left in leftovers)
