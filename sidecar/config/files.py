"""The kinds of single values that name files, or say who may use them, each with its check; pure (see `values`)."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator

_MODE: Final = re.compile(r"0?[0-7]{3}")


def _unix_mode(text: str) -> str:
    if not _MODE.fullmatch(text):
        raise ValueError(f"{text!r} is no file mode; write who may read and write in octal digits, as '660' or '666'")
    return text


def _file_path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("is empty or has a NUL; name a file")
    return text


def _journal_path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("is empty or has a NUL; name a file, as 'sidecar.db'")
    if text.startswith((":memory:", "file:")):
        raise ValueError("is no file's path, but what is owed must outlive the process; name a file, as 'sidecar.db'")
    return text


UnixMode: TypeAlias = Annotated[str, AfterValidator(_unix_mode)]
FilePath: TypeAlias = Annotated[str, AfterValidator(_file_path)]
JournalPath: TypeAlias = Annotated[str, AfterValidator(_journal_path)]
