"""What the doctor asks of the operator before anything is asked of a backend."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from sidecar.cli import main
from sidecar.doctor.rounds import CHATS
from sidecar.doctor.visit import Deed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "sidecar.toml"
    file.write_text(f'[upstream]\nurl = "http://127.0.0.1:9"\n[journal]\npath = "{tmp_path}/sidecar.db"\n')
    return str(file)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "write --yes to go on"),
        (("--yes", "--route", "/other"), "--route: '/other' is none of the chats, which are /api/ai-coach/chat; "),
        (("--yes", "--url", "ftp://x"), "--url: 'ftp://x' is no http or https URL; write https://HOST[:PORT][/PREFIX]"),
        (("--json",), "write --yes to go on"),
        (("--yes", "--header", "nonsense"), "--header: is not 'NAME: VALUE'; "),
        (("--yes", "--header", "@/none"), "--header: /none cannot be read (No such file or directory); "),
        (("--yes", "--body", "@/none"), "--body: /none cannot be read (No such file or directory); "),
        (("--yes",), "there is no journal at "),
    ],
)
def test_what_has_to_be_mended_first(
    arguments: tuple[str, ...],
    said: str,
    config: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["doctor", "-c", config, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_who_does_not_agree_is_not_examined(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert main(["doctor", "-c", config]) == 2
    out, err = capsys.readouterr()
    assert "It costs tokens." in out
    assert err == "sidecar: nothing was asked\n"


@pytest.mark.parametrize("text", ["0", "-1", "x", "inf", "nan"])
def test_a_time_that_is_none(text: str, config: str) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "-c", config, "--timeout-s", text])


def test_no_more_chats_are_asked_for_than_is_said() -> None:
    assert len(Deed) == CHATS
