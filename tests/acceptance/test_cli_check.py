"""The command line as an operator uses it: real processes, a real file, a real journal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.config import preset_names, preset_text
from sidecar.engine.ports import Change, StepUpdate
from sidecar.journal.store import SqliteJournal
from sidecar.turn.state import Cause, Plan, State, StepKind, StepState, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EXAMPLE: Final = Path(__file__).parents[2] / "config.example.toml"
PLAN: Final = Plan(needs={StepKind.CANCEL: frozenset({"request_id"})})


def sidecar(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar", *map(str, arguments)]
    return subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=30, check=False, encoding="utf-8"
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sidecar.toml"
    path.write_text(
        f'[upstream]\nurl = "http://127.0.0.1:9"\n[journal]\npath = "{tmp_path}/sidecar.db"\n'
        '[admin]\nheaders = { Authorization = "Bearer ${ADMIN_TOKEN}" }\n'
        'confirm = { method = "PUT", path = "/confirm?key=${ADMIN_TOKEN}" }\n'
    )
    return path


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """Give a journal as a running sidecar holds it, with two turns: one whose cancel is dead, one completed."""
    journal = await SqliteJournal.open(str(tmp_path / "sidecar.db"), plan_of=lambda _: PLAN, clock=time.time)
    try:
        await _fill(journal)
        yield journal
    finally:
        await journal.close()


async def _fill(journal: SqliteJournal) -> None:
    now = time.time()
    stuck = Turn(
        id="stuck",
        route="/api/ai-coach/chat",
        principal="p",
        begins=True,
        captured={"request_id": "req_1", "conversation_id": "mobile-1"},
        created_at=now - 1,
        plan=PLAN,
        state=State.UNRESOLVED,
        cause=Cause.CLOSED,
        settled_at=now,
    )
    done = Turn(
        id="done",
        route="/api/ai-coach/chat",
        principal="p",
        begins=False,
        captured={"request_id": "req_2"},
        created_at=now,
        plan=PLAN,
        state=State.COMPLETED,
        settled_at=now,
    )
    await journal.submit(Change(turn=stuck, owed=(StepKind.CANCEL,), at=now))
    death = StepUpdate(
        turn_id="stuck", kind=StepKind.CANCEL, state=StepState.DEAD, attempts=20, due_at=now, error="answered 500"
    )
    await journal.submit(Change(update=death, at=now))
    await journal.submit(Change(turn=done, at=now))


def test_check_says_ok_and_what_it_comes_to_without_secrets(config: Path) -> None:
    result = sidecar("check", "-c", config, ADMIN_TOKEN="hunter2")
    assert (result.returncode, result.stderr) == (0, "")
    ok, *summary = result.stdout.splitlines()
    assert ok == f"OK: {config}"
    assert "  listen          127.0.0.1:8080" in summary
    assert "  upstream        http://127.0.0.1:9" in summary
    assert "  chat            POST /api/ai-coach/chat, cancelled by POST /api/ai-coach/cancel" in summary
    assert "    cancel        POST /admin/requests/{request_id}/cancel" in summary
    assert "    confirm       PUT /confirm" in summary
    assert "    verify        none" in summary
    assert "hunter2" not in result.stdout


def test_check_shows_the_whole_of_it_without_secrets(config: Path) -> None:
    config.write_text(f'preset = "sglang"\n{config.read_text()}')
    result = sidecar("check", "--show", "-c", config, ADMIN_TOKEN="hunter2")
    assert (result.returncode, result.stderr) == (0, "")
    shown = [re.sub(r"  +# ", " # ", line) for line in result.stdout.splitlines()]
    assert shown[0] == 'preset = "sglang" # file'
    assert 'Authorization = "Bearer ${ADMIN_TOKEN}" # file' in shown
    assert 'path = "/abort_request" # preset sglang' in shown
    assert 'path = "/confirm?key=${ADMIN_TOKEN}" # file' in shown
    assert "retention_s = 604800 # default" in shown
    assert "hunter2" not in result.stdout


def test_presets_are_listed_and_written_out() -> None:
    listed = sidecar("presets")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(preset_names())
    assert max(map(len, listed.stdout.splitlines())) <= 80
    assert sidecar("presets", "dify").stdout == preset_text("dify")
    unknown = sidecar("presets", "difi")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == f"sidecar: no preset difi; there are {', '.join(preset_names())}\n"


def test_check_accepts_the_example() -> None:
    assert sidecar("check", "--config", EXAMPLE).returncode == 0


def test_check_tells_every_problem_and_fails(config: Path) -> None:
    config.write_text(config.read_text() + "attempt_max = 3\n[log]\nlevel = 5\n")
    result = sidecar("check", "-c", config)
    assert (result.returncode, result.stdout) == (2, "")
    unset = "the environment variable ADMIN_TOKEN is not set; set it, or write $${ADMIN_TOKEN} if you mean the text"
    assert result.stderr.splitlines() == [
        f"sidecar: admin.headers.Authorization: {unset}",
        f"sidecar: admin.confirm.path: {unset}",
        "sidecar: admin.attempt_max: is no setting; did you mean attempts_max?",
        "sidecar: log.level: must be 'debug', 'info', 'warning' or 'error'; write one of these",
    ]


@pytest.mark.parametrize("command", [["run"], ["turns", "list"], ["outbox", "retry", "--all"]])
def test_every_command_tells_a_bad_configuration_alike(command: list[str], tmp_path: Path) -> None:
    result = sidecar(*command, "-c", tmp_path / "none.toml")
    assert result.returncode == 2
    assert result.stderr == (
        f"sidecar: {tmp_path}/none.toml: no such file; give an existing one (config.example.toml is one)\n"
    )


def test_the_version_and_the_help() -> None:
    assert sidecar("--version").stdout.startswith("sidecar 0.")
    assert "sidecar check -c sidecar.toml" in sidecar("--help").stdout


def test_a_journal_that_is_not_there_is_told_in_a_line(config: Path) -> None:
    result = sidecar("turns", "list", "-c", config, ADMIN_TOKEN="x")
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("sidecar: ")


@pytest.mark.usefixtures("journal")
def test_turns_are_listed_beside_a_running_sidecar(config: Path) -> None:
    result = sidecar("turns", "list", "-c", config, ADMIN_TOKEN="x")
    assert (result.returncode, result.stderr) == (0, "")
    _, _, newest, oldest = result.stdout.splitlines()
    assert newest.split()[:3] == ["done", "/api/ai-coach/chat", "completed"]
    assert oldest.split()[:6] == ["stuck", "/api/ai-coach/chat", "unresolved", "closed", "req_1", "mobile-1"]
    assert oldest.rstrip().endswith("cancel dead")
    selected = sidecar("turns", "list", "-c", config, "--state", "completed", "--json", ADMIN_TOKEN="x")
    assert [turn["id"] for turn in json.loads(selected.stdout)] == ["done"]
    limited = sidecar("turns", "list", "-c", config, "--limit", "1", "--json", ADMIN_TOKEN="x")
    assert [turn["id"] for turn in json.loads(limited.stdout)] == ["done"]


async def test_a_dead_step_is_shown_and_tried_again(config: Path, journal: SqliteJournal) -> None:
    shown = sidecar("outbox", "list", "-c", config, "--state", "dead", "--json", ADMIN_TOKEN="x")
    [row] = json.loads(shown.stdout)
    assert (row["turn_id"], row["kind"], row["attempts"], row["error"]) == ("stuck", "cancel", 20, "answered 500")
    unknown = sidecar("outbox", "retry", str(row["id"] + 1), "-c", config, ADMIN_TOKEN="x")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith(f"sidecar: no dead step has the id {row['id'] + 1}; ")
    retried = sidecar("outbox", "retry", str(row["id"]), "-c", config, ADMIN_TOKEN="x")
    assert (retried.returncode, retried.stdout) == (0, "1 dead step will be tried again\n")
    again = await journal.step(row["id"])
    assert again is not None
    assert (again.state, again.attempts) == ("pending", 0)
    rest = sidecar("outbox", "retry", "--all", "-c", config, ADMIN_TOKEN="x")
    assert (rest.returncode, rest.stdout) == (0, "0 dead steps will be tried again\n")


def test_who_reads_no_further_is_no_error(config: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "sidecar", "check", "-c", str(config)]
    with os.fdopen(writer, "wb") as stdout:
        result = subprocess.run(
            command,
            env={**os.environ, "ADMIN_TOKEN": "x"},
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert (result.returncode, result.stderr) == (141, b"")
