"""The C parts: built when they are needed, and again when a source is newer."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = Path(__file__).parent / "native"


class NoCompilerError(Exception):
    """There is no C compiler or no make; the message says what to install."""


@dataclass(frozen=True)
class Native:
    """The paths of the built programs."""

    rig: Path
    floor: Path


def build(home: Path) -> Native:
    """Build what is not built yet. Raises NoCompilerError, or CalledProcessError with the compiler's complaint."""
    if not shutil.which("cc") or not shutil.which("make"):
        raise NoCompilerError("the bench needs a C compiler: apt-get install gcc libc6-dev make")
    out = home / "native"
    run(["make", "--silent", "-C", str(SOURCES), f"OUT={out}"])
    return Native(rig=out / "rig", floor=out / "floor")


def run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)
