"""The demo from its first line to its last: stage, scenes, table; then it serves on for whoever wants to try.

person --straight--> backend          person --through--> sidecar --> backend
                     straight.db                                      through.db
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console

from sidecar.app import Sidecar
from sidecar.config import OFF, Settings
from sidecar.demo.backend import BackendKnobs, LegacyBackend
from sidecar.demo.process import BACKEND_PORT, INTERRUPTED, end_on_signals, free_or_any
from sidecar.demo.scenes import Entrance, play_chats
from sidecar.demo.table import closing_lines, comparison, differences
from sidecar.telemetry import set_up_logging

_ADMIN_TOKEN: Final = "demo-admin"  # noqa: S105  (guards nothing but the demo's own backend)
_KNOBS: Final = BackendKnobs(words=14, word_s=0.12, think_s=0.6, admin_token=_ADMIN_TOKEN)
_SIDECAR_PORT: Final = 8080
_CONSOLE_PORT: Final = 9901
_CONVERSATION_ID: Final = (
    "request.json:/conversationId",
    "response.header:X-Conversation-Id",
    "cancel.json:/conversationId",
)
_INTRO: Final = """\
A legacy chat backend is running: once a question is in, it generates to the
end and saves the conversation, whether or not anyone is still there.
Three chats are played straight to it, and the same three through the sidecar.
"""
_OUTRO: Final = """
Sidecar: {sidecar}   Backend: {backend}   Ctrl-C ends it.
Dashboard, to watch what follows: {console}/

Ask through the sidecar, and press Ctrl-C amid the answer (take a new id for each question):
  curl -N {sidecar}/api/ai-coach/chat -H 'X-Request-Id: req_try_1' -H 'Content-Type: application/json' -d '{body}'

Or cancel it from another terminal:
  curl {sidecar}/api/ai-coach/cancel -H 'Content-Type: application/json' -d '{{"requestId": "req_try_1"}}'

See what the backend keeps:
  curl {backend}/api/ai-coach/conversations

Ask the backend straight, press Ctrl-C again, and look once more after a while:
  curl -N {backend}/api/ai-coach/chat -H 'X-Request-Id: req_try_2' -H 'Content-Type: application/json' -d '{body}'
"""
_BODY: Final = '{"messages": [{"role": "user", "content": "How do I calm down?"}], "stream": true}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Both ways, up and running."""

    straight: Entrance
    through: Entrance
    console_url: str


def run(*, once: bool) -> int:
    """Play the demo; give the exit code. Raises OperatorError where the sidecar cannot be started."""
    try:
        return asyncio.run(_show(once=once))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED if once else 0


async def _show(*, once: bool) -> int:
    end_on_signals()
    console = Console(highlight=False)
    console.print(_INTRO, soft_wrap=True)
    with TemporaryDirectory(prefix="sidecar-demo-") as folder:
        async with AsyncExitStack() as stack:
            stage = await _set(stack, Path(folder), friendly=not once)
            code = await _perform(console, stage)
            if not once:
                await _serve_on(console, stage)
    return code


async def _set(stack: AsyncExitStack, folder: Path, *, friendly: bool) -> Stage:
    """Start two backends, each with its own database, and the sidecar before the second."""
    ports = (free_or_any(BACKEND_PORT), free_or_any(_SIDECAR_PORT)) if friendly else (0, 0)
    alone = await stack.enter_async_context(LegacyBackend.serve(_KNOBS, path=folder / "straight.db"))
    behind = await stack.enter_async_context(LegacyBackend.serve(_KNOBS, path=folder / "through.db", port=ports[0]))
    console = f"127.0.0.1:{free_or_any(_CONSOLE_PORT)}" if friendly else OFF
    settings = _settings(behind.url, folder / "sidecar.db", port=ports[1], console=console)
    set_up_logging(settings.log)
    sidecar = await stack.enter_async_context(Sidecar.start(settings))
    return Stage(
        straight=Entrance(url=alone.url, backend=alone, guarded=False),
        through=Entrance(url=sidecar.url, backend=behind, guarded=True),
        console_url=sidecar.console_url,
    )


async def _perform(console: Console, stage: Stage) -> int:
    """Play all chats, both ways at once, and show what is left; 0 if that is as promised."""
    straight, through = await asyncio.gather(play_chats(stage.straight), play_chats(stage.through))
    console.print(comparison(straight, through))
    console.print(closing_lines(straight, through), soft_wrap=True)
    wrong = differences(straight, through)
    for line in wrong:
        console.print(f"Not as promised: {line}", markup=False, soft_wrap=True)
    return 1 if wrong else 0


async def _serve_on(console: Console, stage: Stage) -> None:
    """Serve until cancelled, at a pace that leaves a person the time to press Stop."""
    entrance = stage.through
    entrance.backend.knobs = replace(_KNOBS, words=60, word_s=0.25)
    outro = _OUTRO.format(sidecar=entrance.url, backend=entrance.backend.url, console=stage.console_url, body=_BODY)
    console.print(outro, markup=False, soft_wrap=True)
    await asyncio.Event().wait()


def _settings(backend_url: str, journal: Path, *, port: int, console: str = OFF) -> Settings:
    """Make the sidecar's settings: its defaults, but for where things are and the backend's answer to a cancel.

    That answer tells the conversation of a turn that is cancelled before the backend said anything.
    """
    return Settings.model_validate(
        {
            "listen": {"address": f"127.0.0.1:{port}", "shutdown_grace_s": 1},
            "upstream": {"url": backend_url},
            "admin": {"headers": {"Authorization": f"Bearer {_ADMIN_TOKEN}"}},
            "chat": [{"capture": {"request_id": ["request.header:X-Request-Id"], "conversation_id": _CONVERSATION_ID}}],
            "journal": {"path": str(journal)},
            "console": {"address": console},
            "log": {"level": "warning"},
        }
    )
