"""The house keeps its shape: imports point down, files and functions stay short, every module says what it is for."""

from __future__ import annotations

import ast
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = sorted((ROOT / "sidecar").rglob("*.py"))
ALL: Final = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "docs").rglob("*.py"))]

FILE_LINES_MAX: Final = 300
FUNCTION_LINES_MAX: Final = 50
LONGER_FILES: Final[dict[str, str]] = {}
"""Files that may be longer, each with the reason."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=name(path))


@pytest.fixture
def _loggers_as_before() -> Iterator[None]:
    """Let all loggers speak again: import-linter sets up logging as for a process of its own, and silences them."""
    loggers = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    silent = {logger for logger in loggers if logger.disabled}
    yield
    for logger in loggers:
        logger.disabled = logger in silent


@pytest.mark.usefixtures("_loggers_as_before")
def test_the_import_contracts_hold(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_there_is_something_to_look_at() -> None:
    assert ROOT / "sidecar" / "turn" / "machine.py" in SOURCES


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_is_short_or_has_a_reason(path: Path) -> None:
    if name(path) not in LONGER_FILES:
        assert lines(path) <= FILE_LINES_MAX


def test_no_reason_outlives_its_file() -> None:
    for path, reason in LONGER_FILES.items():
        assert lines(ROOT / path) > FILE_LINES_MAX, f"{path} needs no reason any more"
        assert reason


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_function_needs_scrolling(path: Path) -> None:
    lengths = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions(parse(path))}
    assert {named: length for named, length in lengths.items() if length > FUNCTION_LINES_MAX} == {}


@pytest.mark.parametrize("path", ALL, ids=name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(parse(path))
