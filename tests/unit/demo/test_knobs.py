"""Knobs are turned by name, and refuse what makes no sense."""

from __future__ import annotations

import pytest

from sidecar.demo.backend import BackendKnobs
from sidecar.demo.backend.knobs import turned


def test_every_knob_can_be_turned_but_the_token() -> None:
    pairs = {
        "words": "3",
        "word_ms": "250",
        "think_ms": "1500",
        "announce": "1",
        "saves_late": "true",
        "sse": "yes",
        "ndjson": "0",
        "id_in": "none",
        "status": "503",
        "die_after": "2",
        "stall_after": "1",
        "admin_token": "guessed",
        "other": "x",
    }
    assert turned(BackendKnobs(admin_token="t", ndjson=True), pairs) == BackendKnobs(
        words=3,
        word_s=0.25,
        think_s=1.5,
        announce=True,
        saves_late=True,
        sse=True,
        ndjson=False,
        id_in="none",
        status=503,
        die_after=2,
        stall_after=1,
        admin_token="t",
    )


@pytest.mark.parametrize(
    "pairs",
    [
        {"words": "-1"},
        {"words": "x"},
        {"word_ms": "-1"},
        {"think_ms": "-5"},
        {"id_in": "body"},
        {"sse": "1", "ndjson": "1"},
    ],
)
def test_what_makes_no_sense_is_refused(pairs: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        turned(BackendKnobs(), pairs)
