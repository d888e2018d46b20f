"""The docs are true: links lead somewhere, commands exist, examples are valid, the diagram is the code's."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from sidecar.config import load_table

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted(
    page
    for page in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        *(ROOT / "clients").glob("*/*.md"),
    )
    if page.is_file()
)
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")

LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND: Final = re.compile(r"(?:^|`|/)sidecar ((?:[a-z]+ ?)+)(.*)")


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """Give what can be linked to within a page: its headings, as GitHub makes anchors of them, and its own anchors."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)
    return frozenset([*slugs, *re.findall(r'<a id="([^"]+)"></a>', text)])


def sidecar(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30, cwd=ROOT)


def marked(marker: str) -> str:
    """Give the fenced text under README's marker."""
    fence = FENCE.match(README.partition(f"<!-- {marker} -->\n")[2])
    assert fence is not None, f"README.md has no fenced text under <!-- {marker} -->"
    return fence.group(2).strip()


def commands() -> set[tuple[str, tuple[str, ...]]]:
    """Give the commands of all pages: subcommand words, and the options used with them."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    code = [
        *(span for text in texts for span in re.findall(r"`[^`\n]+`", FENCE.sub("", text))),
        *(line for _, fenced in fences("sh") for line in re.sub(r"\\\n", "", fenced).split("\n")),
    ]
    found = (match for line in code for match in COMMAND.finditer(line.replace("`", "")))
    return {(match.group(1).strip(), tuple(re.findall(r"(?<!\S)--?[a-z][a-z-]*", match.group(2)))) for match in found}


def fences(language: str) -> list[tuple[str, str]]:
    """Give what is fenced as that language on any page, each with the page's name."""
    return [
        (page_name(page), text)
        for page in PAGES
        for fenced, text in FENCE.findall(page.read_text(encoding="utf-8"))
        if fenced == language
    ]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [link for link in LINK.findall(text) if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_anchors_are_there(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    fragments = [link.partition("#") for link in LINK.findall(text) if "#" in link and not re.match(r"[a-z]+:", link)]
    targets = [(page.parent / path if path else page, anchor) for path, _, anchor in fragments]
    assert [(path.name, anchor) for path, anchor in targets if anchor not in anchors_of(path)] == []


def test_every_page_can_be_found_from_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in PAGES if page.parent == ROOT / "docs"} - {"README.md"}
    assert pages <= {link.partition("#")[0] for link in LINK.findall(index)}


def test_the_links_are_found() -> None:
    assert "docs/ARCHITECTURE.md" in LINK.findall(README)


def test_readme_names_the_commands() -> None:
    assert {"run", "check", "demo", "turns list", "outbox list", "outbox retry"} <= {words for words, _ in commands()}


@pytest.mark.parametrize(("words", "options"), sorted(commands()), ids=str)
def test_a_command_exists(words: str, options: tuple[str, ...]) -> None:
    helped = sidecar(*words.split(), "--help")
    assert helped.returncode == 0, helped.stderr[-500:]
    for option in options:
        assert re.search(rf"(?<![\w-]){re.escape(option)}\b", helped.stdout), f"sidecar {words} has no {option}"


@pytest.mark.parametrize(("page", "text"), fences("sh"))
def test_what_is_to_be_typed_is_shell(page: str, text: str) -> None:
    parsed = subprocess.run(["bash", "-n"], input=text, check=False, capture_output=True, text=True, timeout=30)
    assert parsed.returncode == 0, f"{page}: {parsed.stderr}"


@pytest.mark.parametrize(("page", "text"), fences("toml"))
def test_a_piece_of_configuration_is_valid(page: str, text: str) -> None:
    """Each is the whole of one, but for the upstream, or a part that can be laid over one."""
    presets = (preset.read_text(encoding="utf-8") for preset in (ROOT / "sidecar/config/presets").glob("*.toml"))
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", "".join([text, *presets])), "x")
    settings = load_table({"upstream": {"url": "http://127.0.0.1:9000"}, **tomllib.loads(text)}, variables)
    assert settings.chat, page


def test_the_example_of_readme_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.toml"
    file.write_text(marked("config"), encoding="utf-8")
    checked = sidecar("check", "-c", str(file))
    assert checked.returncode == 0, checked.stdout + checked.stderr[-500:]


def test_the_two_commands_differ_only_in_what_they_need() -> None:
    start = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt "
    assert marked("demo") == f"{start}. && .venv/bin/sidecar demo --once"
    assert marked("tests") == f"{start}-e '.[dev]' && .venv/bin/pytest -q"


def test_the_state_diagram_is_what_the_tables_say() -> None:
    command = [sys.executable, str(ROOT / "docs" / "state_diagram.py"), "--check"]
    checked = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr


def test_the_configuration_page_is_what_example_and_schema_say() -> None:
    command = [sys.executable, str(ROOT / "docs" / "configuration.py"), "--check"]
    checked = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr


def test_every_setting_has_a_row() -> None:
    page = (ROOT / "docs" / "CONFIGURATION.md").read_text(encoding="utf-8")
    example = (ROOT / "config.example.toml").read_text(encoding="utf-8")
    keys = re.findall(r"^#?([a-z_]+) = ", example, re.MULTILINE)
    rows = re.findall(r"^\| <a id=\"[a-z_.]+\"></a>`([a-z_]+)`", page, re.MULTILINE)
    shown = (text for language, text in FENCE.findall(page) if language == "toml")
    assert Counter([*rows, *re.findall(r"^([a-z_]+) = ", "".join(shown), re.MULTILINE)]) == Counter(keys)


def test_every_state_and_event_is_in_the_diagram() -> None:
    page = (ROOT / "docs" / "state-diagram.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) < 70, "one page"
    assert page.count("```mermaid") == 1
