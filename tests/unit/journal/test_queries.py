"""The named queries: all are found, and none walks through a table that grows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar import journal
from sidecar.errors import BugError
from sidecar.journal.queries import MIGRATIONS, QUERIES, parse

SOURCES = "".join(file.read_text("utf-8") for file in Path(journal.__path__[0]).glob("*.py"))


def test_a_name_opens_a_statement_and_comments_go() -> None:
    text = "-- a file's law\n\n-- one --\n-- What for.\nSELECT 1;\n\n-- two --\nSELECT\n-- inside\n  2;\n"
    assert parse(text) == {"one": "SELECT 1;", "two": "SELECT\n  2;"}


def test_a_name_comes_once() -> None:
    with pytest.raises(BugError):
        parse("-- one --\nSELECT 1;\n-- one --\nSELECT 2;\n")


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_is_commented_single_and_used(name: str) -> None:
    text = Path(journal.__path__[0], "queries.sql").read_text("utf-8")
    assert re.search(rf"^-- {name} --\n-- \S", text, re.MULTILINE)
    assert QUERIES[name].count(";") == 1
    assert f'"{name}"' in SOURCES


def test_migrations_are_numbered_without_a_gap() -> None:
    names = sorted(file.name for file in Path(journal.__path__[0], "migrations").glob("*.sql"))
    assert [name[:5] for name in names] == [f"{number + 1:04}_" for number in range(len(MIGRATIONS))]
