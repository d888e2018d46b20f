"""A journal has one owner. The kernel keeps the lock and drops it with the process, however that ends.

The lock file stays where it is when the lock is released: to remove it would let two owners lock two files of one name.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.errors import JournalRefusedError

FILE_MODE: Final = 0o600
_PID_CHARS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class OwnerLock:
    """An exclusive flock(2) on `<journal>.lock`, which also names the owner's pid, for people."""

    fd: int

    @classmethod
    def take(cls, journal_path: str) -> OwnerLock:
        """Take the lock, or raise JournalRefusedError saying who has it. The journal's folder must be there."""
        path = os.path.realpath(journal_path) + ".lock"
        fd = _open(path, journal_path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            message = _why_not(error, fd, journal_path)
            os.close(fd)
            raise JournalRefusedError(message) from None
        _leave_pid(fd)
        return cls(fd)

    def release(self) -> None:
        """Let another owner have it."""
        os.close(self.fd)


def _open(path: str, journal_path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except FileNotFoundError:
        raise JournalRefusedError(
            f"the journal {journal_path} cannot be made: "
            f"there is no folder {Path(path).parent}; make it or change journal.path"
        ) from None
    except OSError as error:
        raise JournalRefusedError(
            f"the journal {journal_path} cannot be used: {path}: {error.strerror}; "
            "let the sidecar's user write in this folder or change journal.path"
        ) from None


def _why_not(error: OSError, fd: int, journal_path: str) -> str:
    if not isinstance(error, BlockingIOError):
        return f"the journal {journal_path} cannot be locked: {error.strerror}; put it on a local file system"
    pid = os.pread(fd, _PID_CHARS_MAX, 0).decode("ascii", "replace").strip()
    owner = f" (pid {pid})" if pid.isdecimal() else ""
    return (
        f"another sidecar{owner} uses the journal {journal_path}; "
        "give each sidecar its own journal.path or stop the other"
    )


def _leave_pid(fd: int) -> None:
    # Of use to people only: a full disk must not keep the lock from working.
    with suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
