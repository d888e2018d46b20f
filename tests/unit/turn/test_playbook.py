"""The playbook itself can fail."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from sidecar.turn.effects import CloseUpstream
from sidecar.turn.events import Forwarded
from sidecar.turn.state import State
from tests.unit.turn.playbook import Playbook, opened

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def test_a_difference_is_shown_as_a_diff() -> None:
    playbook = Playbook(opened()) >> Forwarded(at=1) << CloseUpstream() << State.OPEN
    with pytest.raises(AssertionError, match=r"(?s)  >> Forwarded\(at=1\).*-    << CloseUpstream\(\).*     << OPEN"):
        bool(playbook)


def test_an_answer_left_out_is_a_difference() -> None:
    with pytest.raises(AssertionError, match=r"\+    << OPEN"):
        bool(Playbook(opened()) >> Forwarded(at=1))


def test_one_that_nobody_checks_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[BaseException | None] = []

    def record(unraisable: UnraisableHookArgs) -> None:
        raised.append(unraisable.exc_value)

    monkeypatch.setattr(sys, "unraisablehook", record)
    playbook = Playbook(opened()) >> Forwarded(at=1)
    del playbook
    assert "never checked" in str(raised)
