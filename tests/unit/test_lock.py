"""The lock files agree with each other and with pyproject.toml, and name no host but the public registry's."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK_TEXT: Final = (ROOT / "uv.lock").read_text(encoding="utf-8")
LOCK: Final = tomllib.loads(LOCK_TEXT)
CONSTRAINTS_TEXT: Final = (ROOT / "constraints.txt").read_text(encoding="utf-8")
CONSTRAINTS: Final = [Requirement(line) for line in CONSTRAINTS_TEXT.splitlines() if line and line[0] != "#"]
WANTED: Final = [
    *PROJECT["dependencies"],
    *(text for texts in PROJECT["optional-dependencies"].values() for text in texts),
]


def pinned() -> dict[str, str]:
    return {canonicalize_name(line.name): str(line.specifier).removeprefix("==") for line in CONSTRAINTS}


def test_constraints_are_plain_pins() -> None:
    for line in CONSTRAINTS:
        assert re.fullmatch(r"==([0-9]+!)?[0-9][0-9a-z.+]*", str(line.specifier)), line
        assert line.url is None
    assert len(pinned()) == len(CONSTRAINTS) > len(WANTED)


def test_constraints_say_what_the_lock_says() -> None:
    locked = {package["name"]: package["version"] for package in LOCK["package"] if package["name"] != PROJECT["name"]}
    assert pinned() == locked


@pytest.mark.parametrize("text", WANTED)
def test_what_the_project_wants_is_pinned_within_its_bounds(text: str) -> None:
    wanted = Requirement(text)
    assert wanted.specifier.contains(pinned()[canonicalize_name(wanted.name)])


def test_the_lock_is_for_the_same_pythons() -> None:
    assert LOCK["requires-python"] == PROJECT["requires-python"]


def test_only_the_public_registry_is_named() -> None:
    urls = re.findall(r'"([a-z+]+://[^"]+)"', LOCK_TEXT)
    assert {urlsplit(url).hostname for url in urls} == {"pypi.org", "files.pythonhosted.org"}
    assert "://" not in CONSTRAINTS_TEXT
