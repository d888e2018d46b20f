"""How a command ends: the exit code, and lines instead of tracebacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.cli import _end_cleanly, main
from sidecar.errors import (
    BugError,
    ConfigError,
    JournalRefusedError,
    JournalUnavailableError,
    OperatorError,
    UpstreamUnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def raising(error: BaseException) -> Callable[[], int]:
    def act() -> int:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OperatorError("mend it"), 2, "sidecar: mend it\n"),
        (OperatorError(), 2, "sidecar: OperatorError\n"),
        (ConfigError(["a: x", "b: y"]), 2, "sidecar: a: x\nsidecar: b: y\n"),
        (JournalRefusedError("in use"), 2, "sidecar: in use\n"),
        (JournalUnavailableError("disk full"), 1, "sidecar: disk full\n"),
        (UpstreamUnreachableError("refused"), 1, "sidecar: refused\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_what_is_no_bug_ends_in_plain_lines(
    error: BaseException, code: int, said: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.cli._let_stdout_go", lambda: None)  # which would let go of pytest's
    assert _end_cleanly(raising(error)) == code
    assert capfd.readouterr() == ("", said)


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(BugError):
        _end_cleanly(raising(BugError("ours")))


def test_without_stderr_the_exit_code_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert _end_cleanly(raising(OperatorError("mend it"))) == 2


@pytest.mark.parametrize("arguments", [[], ["turns"], ["outbox"]])
def test_without_a_command_the_help_is_shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"usage: {' '.join(['sidecar', *arguments])} ")


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["check"], ["turns", "list"], ["outbox", "list"], ["outbox", "retry", "1"], ["outbox", "retry", "--all"]],
)
def test_without_a_configuration_it_says_so(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("sidecar: which configuration? Name its file with -c FILE")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["outbox", "retry"], "one of the arguments ID --all is required"),
        (["outbox", "retry", "1", "--all"], "not allowed with argument"),
        (["outbox", "retry", "x"], "'x' is no number from 1 on"),
        (["outbox", "retry", "0"], "'0' is no number from 1 on"),
        (["outbox", "list", "--state", "lost"], "invalid choice: 'lost'"),
        (["turns", "list", "--limit", "0"], "'0' is no number from 1 on"),
        (["turns", "list", "--limit", "10001"], "'10001' is more than 10000"),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_wrong_arguments(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
