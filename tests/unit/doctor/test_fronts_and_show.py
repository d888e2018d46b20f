"""Fronts are recognised by what they leave in an answer; findings are laid out for people and for programs."""

from __future__ import annotations

import json

import pytest
from multidict import CIMultiDict
from rich.console import Console

from sidecar.doctor.findings import Chapter, fail, failed, ok, skip, warn
from sidecar.doctor.fronts import Trouble, mends_of, recognise
from sidecar.doctor.show import as_json, chapter_lines, closing_line


def test_a_front_is_recognised_beside_the_backends_own_name() -> None:
    assert recognise(CIMultiDict([("Server", "Caddy"), ("Server", "Python/3.11 aiohttp")])) == "Caddy"


@pytest.mark.parametrize(
    ("headers", "front"),
    [
        ({"Server": "nginx/1.22.1"}, "nginx"),
        ({"server": "openresty"}, "nginx"),
        ({"Server": "uvicorn", "Via": "1.1 Caddy"}, "Caddy"),
        ({"Server": "cloudflare"}, "Cloudflare"),
        ({"CF-Ray": "8a-VIE", "Server": "x"}, "Cloudflare"),
        ({"x-envoy-upstream-service-time": "3"}, "Envoy"),
        ({"Server": "awselb/2.0"}, "AWS ALB"),
        ({"Server": "uvicorn"}, None),
        ({}, None),
    ],
)
def test_a_front_is_recognised(headers: dict[str, str], front: str | None) -> None:
    assert recognise(headers) == front


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_has_mends_and_an_unlisted_front_gets_them_all(trouble: Trouble) -> None:
    every = mends_of(trouble, None)
    assert any(mend.startswith("nginx: ") for mend in every)
    assert mends_of(trouble, "nginx") == tuple(mend for mend in every if mend.startswith("nginx: "))
    assert mends_of(trouble, "Varnish") == every


CHAPTER = Chapter(
    "Clients that leave",
    (
        ok("a", "fine"),
        fail("b", f"[bold]{'held back ' * 9}\x1b[31m", "nginx: x", "Caddy: y"),
        warn("c", "late"),
        skip("d", "unknown"),
    ),
)


def shown(width: int) -> list[str]:
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        for line in chapter_lines(CHAPTER, width):
            console.print(line, soft_wrap=True)
    return captured.get().splitlines()


def test_a_chapter_is_folded_at_words_and_holds_no_markup() -> None:
    assert shown(60) == [
        "",
        "Clients that leave",
        "    ok  fine",
        "  FAIL  [bold]held back held back held back held back held",
        "        back held back held back held back held back  [31m",
        "  mend  nginx: x",
        "  mend  Caddy: y",
        "  warn  late",
        "     -  unknown",
    ]


def test_the_last_line_and_the_code() -> None:
    assert closing_line([CHAPTER]).plain.strip() == "1 thing to change."
    assert failed([CHAPTER])
    better = Chapter("", (warn("c", "late"), warn("c", "late")))
    assert closing_line([better]).plain.strip() == "It works; 2 things could be better."
    assert not failed([better])
    assert closing_line([Chapter("", (ok("a", "fine"),))]).plain.strip() == "All is well."


def test_json_has_it_all() -> None:
    told = json.loads(as_json("https://x", [CHAPTER]))
    assert (told["url"], told["ok"]) == ("https://x", False)
    assert told["findings"][1]["mends"] == ["nginx: x", "Caddy: y"]
    assert [finding["grade"] for finding in told["findings"]] == ["ok", "fail", "warn", "skip"]
