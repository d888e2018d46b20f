"""The ids that the backend and its clients make."""

from __future__ import annotations

import secrets
import string
import time
from typing import Final
from uuid import uuid4

_LETTERS: Final = string.ascii_lowercase + string.digits


def new_conversation_id() -> str:
    """Make a conversation's real id: `mobile-<unix seconds>-<9 random characters>`."""
    return f"mobile-{int(time.time())}-{_random(9)}"


def new_temp_id() -> str:
    """Make a temporary conversation's id: `temp_<uuid4>` (M6)."""
    return f"temp_{uuid4()}"


def new_request_id() -> str:
    """Make a request id as the clients do: `req_<ms>_<random>` (M4)."""
    return f"req_{time.time_ns() // 1_000_000}_{_random(9)}"


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
