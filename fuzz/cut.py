"""An input's first byte says how the rest is cut into pieces, so that a finding is always the same bytes."""

from __future__ import annotations

from random import Random
from typing import Final

PIECES_MAX: Final = 64


def knob(data: bytes) -> tuple[int, bytes]:
    """Take a byte off the input, to choose by."""
    return (data[0], data[1:]) if data else (0, b"")


def pieces(data: bytes, how: int) -> list[bytes]:
    """Cut: 0 is not at all, 1 is into single bytes, any other is a seed."""
    if how == 0 or not data:
        return [data] if data else []
    if how == 1:
        return [data[at : at + 1] for at in range(len(data))]
    chance = Random(how)  # noqa: S311  (no secret)
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, PIECES_MAX)))
    return [piece for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True) if (piece := data[start:stop])]
