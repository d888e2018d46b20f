"""The grammar of the command line. Each command's parser says in `act` what does it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.cli import commands
from sidecar.engine.operator import REASON_CHARS_MAX
from sidecar.turn.state import Cause, State

if TYPE_CHECKING:
    from argparse import Namespace, _SubParsersAction
    from collections.abc import Sequence

    Commands = _SubParsersAction[ArgumentParser]

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 10_000
PORT_MAX: Final = 65_535
LAST_DEFAULT: Final = 10
TIMEOUT_S_MAX: Final = 3600
OUTBOX_STATES: Final = ("pending", "leased", "delivered", "dead", "dropped")
_ABOUT: Final = "A reverse proxy that stops and rolls back the AI-chat turns its clients abandon."
_EXAMPLES: Final = """\
sidecar demo                        see it at work; nothing else is needed
sidecar check -c sidecar.toml       find every problem of a configuration
sidecar doctor -c sidecar.toml --url https://chat.example.org
sidecar run -c sidecar.toml         run until SIGTERM or Ctrl-C
sidecar outbox list -c sidecar.toml --state dead
"""


def parser() -> ArgumentParser:
    """Make the parser. What it parses has `act`, which takes it and gives the exit code."""
    top = ArgumentParser(
        prog="sidecar", description=_ABOUT, epilog=_EXAMPLES, formatter_class=RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="version", version=f"sidecar {version('cancel-sidecar')}")
    below = _group(top)
    _with_config(_command(below, "run", "relay, until SIGTERM or Ctrl-C", commands.run))
    check = _with_config(_command(below, "check", "tell every problem of a configuration, or OK", commands.check))
    check.add_argument("--show", action="store_true", help="every key with its value and where that is from, as TOML")
    presets = _command(below, "presets", "list the presets for known backends, or write one out", commands.presets)
    presets.add_argument("name", nargs="?", metavar="NAME", help="the preset to write out")
    _turns(below)
    _outbox(below)
    _tail(below)
    _doctor(below)
    demo = _command(below, "demo", "show three chats with the sidecar and without it", commands.demo)
    which = demo.add_mutually_exclusive_group()
    which.add_argument("--once", action="store_true", help="end after the table; fail if it is not as promised")
    which.add_argument("--backend-only", action="store_true", help="serve the backend alone, and say how to use it")
    demo.add_argument("--port", type=_port, metavar="N", help="the backend's port, with --backend-only")
    return top


def _doctor(commands_of: Commands) -> None:
    about = "try from a client's place whether leaving and cancelling get through to the sidecar"
    doctor = _with_config(_command(commands_of, "doctor", about, commands.doctor))
    doctor.add_argument("--url", help="where clients reach it, with what stands in front (default: listen.address)")
    doctor.add_argument("--route", metavar="PATH", help="the chat's path (default: that of the first [[chat]])")
    doctor.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'|@FILE",
        help="sent with each chat; may come again; a file has one a line",
    )
    doctor.add_argument("--body", metavar="JSON|@FILE", help="the chat's body (default: one question, stream: true)")
    doctor.add_argument(
        "--timeout-s", type=_seconds, default=20.0, metavar="S", help="how long each thing is waited for (default 20)"
    )
    doctor.add_argument("--json", action="store_true", help="JSON instead of text")
    doctor.add_argument("--yes", action="store_true", help="do not ask first; it costs tokens")


def _turns(commands_of: Commands) -> None:
    below = _group(
        commands_of.add_parser("turns", help="look at turns, cancel one", description="Look at turns, cancel one.")
    )
    listing = _command(below, "list", "turns, newest first", commands.list_turns)
    _with_selection(_with_config(listing), [str(state) for state in State])
    show = _with_config(_command(below, "show", "one turn, and all that happened to it", commands.show_turn))
    show.add_argument("id", metavar="ID", help="the id that `turns list` shows")
    show.add_argument("--json", action="store_true", help="JSON instead of a timeline")
    cancel = _with_config(_command(below, "cancel", "have a turn cancelled by the running sidecar", commands.cancel))
    cancel.add_argument("id", metavar="ID", help="the id that `turns list` shows")


def _tail(commands_of: Commands) -> None:
    tail = _with_config(_command(commands_of, "tail", "follow turns as they change, until Ctrl-C", commands.tail))
    tail.add_argument("--state", choices=[str(state) for state in State], help="only those that come into this state")
    tail.add_argument("--cause", choices=[str(cause) for cause in Cause], help="only those that ended early by this")
    tail.add_argument("--route", metavar="ROUTE", help="only those of this route, as `turns list` shows it")
    tail.add_argument("--id", metavar="ID", help="only those with this id: the turn's, its request's or conversation's")
    tail.add_argument(
        "--last", type=_limit, default=LAST_DEFAULT, metavar="N", help=f"begin with so many (default {LAST_DEFAULT})"
    )
    tail.add_argument("--json", action="store_true", help="a line of JSON for each change")


def _outbox(commands_of: Commands) -> None:
    about = "Look at the admin calls that are owed, have dead ones tried again, or give one up."
    below = _group(
        commands_of.add_parser("outbox", help="look at owed admin calls, retry dead ones", description=about)
    )
    listing = _command(below, "list", "owed admin calls, newest first", commands.list_outbox)
    _with_selection(_with_config(listing), OUTBOX_STATES)
    retry = _with_config(_command(below, "retry", "try dead calls again, from their first attempt", commands.retry))
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="?", type=_positive, metavar="ID", help="the id that `outbox list` shows")
    which.add_argument("--all", action="store_true", help="all that are dead")
    drop = _with_config(_command(below, "drop", "have a call given up for good", commands.drop))
    drop.add_argument("id", type=_positive, metavar="ID", help="the id that `outbox list` shows")
    drop.add_argument("--reason", type=_reason, required=True, metavar="TEXT", help="why; the journal keeps it")


def _group(group: ArgumentParser) -> Commands:
    """Let a parser have commands below it; without one of them it shows its help."""
    group.set_defaults(act=partial(_help, group))
    return group.add_subparsers(metavar="COMMAND")


def _help(group: ArgumentParser, _: Namespace) -> int:
    group.print_help(sys.stderr)
    return 2


def _command(commands_of: Commands, name: str, about: str, act: commands.Command) -> ArgumentParser:
    command = commands_of.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    command.set_defaults(act=act)
    return command


def _with_config(command: ArgumentParser) -> ArgumentParser:
    # Not `required`: its absence is told with its mend, by the command.
    command.add_argument("-c", "--config", type=Path, metavar="FILE", help="the TOML file")
    return command


def _with_selection(command: ArgumentParser, states: Sequence[str]) -> None:
    command.add_argument("--state", choices=states, help="only those in this state")
    command.add_argument(
        "--limit", type=_limit, default=LIMIT_DEFAULT, metavar="N", help=f"at most so many (default {LIMIT_DEFAULT})"
    )
    command.add_argument("--json", action="store_true", help="JSON instead of a table")


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is no number from 1 on")
    return number


def _reason(text: str) -> str:
    reason = text.strip()
    if not 1 <= len(reason) <= REASON_CHARS_MAX:
        raise ArgumentTypeError(f"a reason has 1 to {REASON_CHARS_MAX} characters")
    return reason


def _port(text: str) -> int:
    number = _positive(text)
    if number > PORT_MAX:
        raise ArgumentTypeError(f"{text!r} is more than {PORT_MAX}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= TIMEOUT_S_MAX:
        raise ArgumentTypeError(f"{text!r} is no number of seconds above 0, and at most {TIMEOUT_S_MAX}")
    return seconds


def _limit(text: str) -> int:
    number = _positive(text)
    if number > LIMIT_MAX:
        raise ArgumentTypeError(f"{text!r} is more than {LIMIT_MAX}")
    return number
