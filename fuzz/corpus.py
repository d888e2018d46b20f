"""The inputs to begin with, and those that once were a finding: a file each, in a folder named for their target."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("corpus")


def inputs(target: str) -> list[bytes]:
    """Give a target's inputs, in a fixed order."""
    return [path.read_bytes() for path in sorted((FOLDER / target).iterdir())]


def keep(target: str, data: bytes) -> Path:
    """Keep an input that was a finding."""
    path = FOLDER / target / f"found-{sha256(data).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
