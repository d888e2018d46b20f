"""What the arguments give, or name a file for. Raises OperatorError, whose message says which option to mend."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.config import Settings, load
from sidecar.errors import OperatorError

if TYPE_CHECKING:
    from argparse import Namespace


def load_settings(arguments: Namespace) -> Settings:
    """Give the settings of the file that is meant. Raises OperatorError."""
    if arguments.config is None:
        raise OperatorError(
            "which configuration? Name its file with -c FILE (config.example.toml is one to start from)"
        )
    return load(arguments.config, os.environ)


def body(text: str | None) -> bytes | None:
    """Give the body that is meant: the text itself, or with `@` the file of that name. Raises OperatorError."""
    if text is None or not text.startswith("@"):
        return None if text is None else text.encode()
    return _file(text[1:], "--body")


def header_lines(text: str) -> list[str]:
    """Give the header that is meant, or with `@` those in the file of that name, which `ps` shows to nobody."""
    if not text.startswith("@"):
        return [text]
    lines = _file(text[1:], "--header").decode("utf-8", "replace").splitlines()
    return [line for line in lines if line.strip()]


def _file(name: str, option: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise OperatorError(f"{option}: {name} cannot be read ({reason}); name a file that can") from None
