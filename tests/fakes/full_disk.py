"""A disk that is full when a test says so, for the journal alone.

Either a file system of its own, whose rest another file takes: writes fail with ENOSPC. Or the process's limit on the
size of its files: writes fail with EFBIG, which SQLite calls an I/O error.
"""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TINY_BYTES: Final = 2_097_152


class Disk(Protocol):
    """Where a journal is to lie, and what may happen to it."""

    folder: Path

    def fill(self, pid: int) -> None:
        """Leave the process no room for its journal to grow."""

    def free(self, pid: int | None = None) -> None:
        """Give the room back, to that process too if it still runs."""


class TinyDisk:
    """A file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @contextmanager
    def mounted(cls, folder: Path) -> Iterator[TinyDisk]:
        """Mount it; skip the test where that is not allowed."""
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={TINY_BYTES}", "tmpfs", str(folder)]
        mounted = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
        if not mounted:
            pytest.skip("a file system of a test's own needs root and the right to mount")
        try:
            yield cls(folder)
        finally:
            subprocess.run(["umount", str(folder)], check=True)

    def fill(self, pid: int) -> None:
        """Take all there is, to the last block."""
        del pid
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            while _takes(lambda: ballast.write(bytes(4096))):
                pass

    def free(self, pid: int | None = None) -> None:
        """Give it back."""
        del pid
        (self.folder / "ballast").unlink()


class FileLimit:
    """A limit on the size of any file that the process writes; its own log is far shorter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, pid: int) -> None:
        """Let no file grow beyond the journal's log."""
        size = (self.folder / "sidecar.db-wal").stat().st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def free(self, pid: int | None = None) -> None:
        """Lift the limit; the next process has none."""
        if pid is None:
            return
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _takes(write: Callable[[], object]) -> bool:
    try:
        write()
    except OSError:
        return False
    return True
