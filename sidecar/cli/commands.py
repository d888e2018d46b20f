"""What the commands do. Each takes the parsed arguments and gives an exit code; OperatorError tells what is amiss.

The rest of the sidecar is imported only by the commands that run it, so that the others are quick to answer.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from sidecar.cli import tables, timeline
from sidecar.cli.given import body, header_lines, load_settings
from sidecar.cli.tail import POLL_S, Tail, Wanted
from sidecar.config import (
    OFF,
    Settings,
    effective_toml,
    preset_about,
    preset_names,
    preset_text,
    read_table,
)
from sidecar.errors import OperatorError
from sidecar.telemetry import set_up_logging
from sidecar.turn.state import Cause, State

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence

    from sidecar.config import Call, Chat
    from sidecar.engine.history import TurnHistory
    from sidecar.engine.ports import StepRow
    from sidecar.turn.state import Turn

    Command: TypeAlias = Callable[[Namespace], int]


def run(arguments: Namespace) -> int:
    """Relay until told to stop."""
    from sidecar.app import run as run_app

    run_app(partial(load_settings, arguments))
    return 0


def check(arguments: Namespace) -> int:
    """Tell every problem of a configuration, or what it comes to: in short, or (`--show`) every key of it."""
    settings = load_settings(arguments)
    from sidecar.app.check import check_machine

    check_machine(settings)
    if arguments.show:
        sys.stdout.write(effective_toml(settings, read_table(arguments.config)))
        return 0
    sys.stdout.write(f"OK: {arguments.config}\n")
    sys.stdout.writelines(f"  {name:<15} {text}\n" for name, text in _summary(settings))
    return 0


def presets(arguments: Namespace) -> int:
    """List the presets, or write one out."""
    if arguments.name is None:
        sys.stdout.writelines(tables.presets_list((name, *preset_about(name)) for name in preset_names()))
        return 0
    if arguments.name not in preset_names():
        raise OperatorError(f"no preset {arguments.name}; there are {', '.join(preset_names())}")
    sys.stdout.write(preset_text(arguments.name))
    return 0


def list_turns(arguments: Namespace) -> int:
    """Show turns, newest first."""
    turns = asyncio.run(_read_turns(load_settings(arguments), arguments.state, arguments.limit))
    sys.stdout.write(tables.turns_json(turns) if arguments.json else tables.turns_table(turns, now=time.time()))
    return 0


def show_turn(arguments: Namespace) -> int:
    """Show one turn, and all that happened to it."""
    history = asyncio.run(_read_history(load_settings(arguments), arguments.id))
    sys.stdout.write(timeline.history_json(history) if arguments.json else timeline.timeline(history))
    return 0


def tail(arguments: Namespace) -> int:
    """Show turns as they change, until interrupted."""
    wanted = Wanted(
        state=State(arguments.state) if arguments.state else None,
        cause=Cause(arguments.cause) if arguments.cause else None,
        route=arguments.route,
        id=arguments.id,
    )
    asyncio.run(_follow(load_settings(arguments), wanted, arguments.last, as_json=arguments.json))
    return 0


def cancel(arguments: Namespace) -> int:
    """Have a turn cancelled."""
    asyncio.run(_cancel(load_settings(arguments), arguments.id))
    sys.stdout.write(f"turn {arguments.id} will be cancelled\n")
    return 0


def list_outbox(arguments: Namespace) -> int:
    """Show rows of the outbox, newest first."""
    rows = asyncio.run(_read_outbox(load_settings(arguments), arguments.state, arguments.limit))
    sys.stdout.write(tables.outbox_json(rows) if arguments.json else tables.outbox_table(rows, now=time.time()))
    return 0


def retry(arguments: Namespace) -> int:
    """Have dead steps tried again."""
    revived = asyncio.run(_retry(load_settings(arguments), arguments.id))
    sys.stdout.write(f"{revived} dead step{'' if revived == 1 else 's'} will be tried again\n")
    return 0


def drop(arguments: Namespace) -> int:
    """Have a step given up for good."""
    asyncio.run(_drop(load_settings(arguments), arguments.id, arguments.reason))
    sys.stdout.write(f"step {arguments.id} will be dropped\n")
    return 0


def doctor(arguments: Namespace) -> int:
    """Examine, from a client's place, whether the sidecar can do its work."""
    from sidecar.doctor import Options
    from sidecar.doctor import run as run_doctor

    settings = load_settings(arguments)
    set_up_logging(settings.log)
    options = Options(
        url=arguments.url,
        route=arguments.route,
        headers=tuple(line for text in arguments.header for line in header_lines(text)),
        body=body(arguments.body),
        timeout_s=arguments.timeout_s,
    )
    return run_doctor(settings, options, yes=arguments.yes, as_json_text=arguments.json)


def demo(arguments: Namespace) -> int:
    """Show three chats with the sidecar and without it; or serve the backend alone, to be tried against."""
    from sidecar.demo import play, serve_backend

    if arguments.backend_only:
        return serve_backend(port=arguments.port)
    if arguments.port is not None:
        raise OperatorError("--port is the backend's, and goes with --backend-only")
    return play(once=arguments.once)


async def _read_turns(settings: Settings, state: str | None, limit: int) -> Sequence[Turn]:
    from sidecar.app import operator_journal

    set_up_logging(settings.log)
    async with operator_journal(settings) as desk:
        return await desk.turns(state=State(state) if state else None, limit=limit)


async def _read_history(settings: Settings, turn_id: str) -> TurnHistory:
    """Read a turn's history. Raises OperatorError if there is no such turn."""
    from sidecar.app import operator_journal

    set_up_logging(settings.log)
    async with operator_journal(settings) as desk:
        history = await desk.history(turn_id)
    if history is None:
        raise OperatorError(f"no turn {turn_id}; `sidecar turns list` shows those there are")
    return history


async def _follow(settings: Settings, wanted: Wanted, last: int, *, as_json: bool) -> None:
    from sidecar.app import operator_journal

    set_up_logging(settings.log)
    async with operator_journal(settings) as desk:
        following = Tail(desk, wanted)
        turns = await following.first(last)
        while True:
            for turn in turns:
                at = timeline.clock_text(time.time())
                line = f"{json.dumps(tables.turn_object(turn))}\n" if as_json else tables.turn_line(turn, at=at)
                sys.stdout.write(line)
            sys.stdout.flush()
            await asyncio.sleep(POLL_S)
            turns = await following.changes()


async def _cancel(settings: Settings, turn_id: str) -> None:
    """Order a turn to be cancelled. Raises OperatorError if there is nothing to cancel."""
    from sidecar.app import operator_journal

    set_up_logging(settings.log)
    async with operator_journal(settings) as desk:
        if not await desk.cancel(turn_id):
            raise OperatorError(
                f"no turn {turn_id} that could be cancelled; `sidecar turns list` shows those there are"
            )


async def _read_outbox(settings: Settings, state: str | None, limit: int) -> Sequence[StepRow]:
    from sidecar.app import operator_journal

    set_up_logging(settings.log)
    async with operator_journal(settings) as desk:
        return await desk.outbox(state=state, limit=limit)


async def _retry(settings: Settings, step_id: int | None) -> int:
    """Have one dead step tried again, or (None) all; give their number. Raises OperatorError if it is not dead."""
    from sidecar.app import operator_journal

    set_up_logging(settings.log)
    async with operator_journal(settings) as desk:
        if step_id is None:
            return await desk.retry_all()
        if await desk.retry(step_id):
            return 1
    raise OperatorError(f"no dead step has the id {step_id}; `sidecar outbox list --state dead` shows those that are")


async def _drop(settings: Settings, step_id: int, reason: str) -> None:
    """Order a step to be dropped. Raises OperatorError if it is over already."""
    from sidecar.app import operator_journal

    set_up_logging(settings.log)
    async with operator_journal(settings) as desk:
        if not await desk.drop(step_id, reason=f"{reason} (command line)"):
            raise OperatorError(f"no step {step_id} that could be dropped; `sidecar outbox list` shows those there are")


def _summary(settings: Settings) -> Iterator[tuple[str, str]]:
    """Say what a configuration comes to: nothing of it can be a secret."""
    if settings.preset:
        yield "preset", settings.preset
    yield "listen", settings.listen.address
    yield "upstream", settings.upstream.url
    for chat in settings.chat:
        yield "chat", _chat_text(chat)
    if not settings.chat:
        yield "chat", "none: everything is only relayed"
    yield "admin", settings.admin_url
    admin = settings.admin
    for name in ("cancel", "rollback", "confirm", "rollback_turn", "verify"):
        yield f"  {name}", _call_text(getattr(admin, name))
    for guard in settings.guard:
        yield "guard", f"{', '.join(sorted(guard.methods))} {guard.path}"
    yield "journal", settings.journal.path
    yield "console", settings.console.address if settings.console.address != OFF else "none"


def _chat_text(chat: Chat) -> str:
    return f"{', '.join(sorted(chat.methods))} {chat.path}, cancelled by POST {chat.cancel_path}"


def _call_text(call: Call | bool) -> str:
    """Name a call; its query may hold a key."""
    return "none" if isinstance(call, bool) else f"{call.method} {call.path.partition('?')[0]}"
