"""The rules and alerts: Prometheus' own checks, their unit tests, and a Prometheus that scrapes a sidecar with them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml
from aiohttp.test_utils import unused_port

from tests.deploy.fronts import DEPLOY, replaced, tool
from tests.deploy.promql import labels_in, names_in, told
from tests.deploy.shipped import TOKEN, ShippedSidecar, only_who_stays_is_kept
from tests.deploy.visitor import WAIT_S
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.demo.backend import LegacyBackend

FOLDER: Final = DEPLOY / "prometheus"
RULE_FILES: Final = ("rules.yml", "alerts.yml")
METRICS_PAGE: Final = (DEPLOY.parent / "docs" / "METRICS.md").read_text(encoding="utf-8")

needs_promtool = pytest.mark.skipif(tool("promtool") is None, reason="promtool is not installed")
needs_prometheus = pytest.mark.skipif(tool("prometheus") is None, reason="prometheus is not installed")


def rules() -> list[dict[str, Any]]:
    files = [yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")) for name in RULE_FILES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()]


@pytest.fixture
async def shipped(backend: LegacyBackend, tmp_path: Path) -> AsyncIterator[ShippedSidecar]:
    text = (DEPLOY / "docker" / "sidecar.toml").read_text(encoding="utf-8")
    sidecar = ShippedSidecar(tmp_path, backend.url, text)
    await sidecar.start()
    yield sidecar
    await sidecar.close()


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(tool("promtool")), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@needs_promtool
def test_promtool_has_nothing_to_say() -> None:
    checked = promtool("check", "rules", "--lint-fatal", *(FOLDER / name for name in RULE_FILES))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs_promtool
def test_promtool_takes_the_configuration(tmp_path: Path) -> None:
    checked = promtool("check", "config", configuration(tmp_path, console_port=9901))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs_promtool
def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    for name in RULE_FILES:
        shutil.copy(FOLDER / name, tmp_path)
    shutil.copy(Path(__file__).with_name("alerts_test.yml"), tmp_path)
    tested = promtool("test", "rules", tmp_path / "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_alert_has_such_a_test_and_says_what_to_do() -> None:
    tests = Path(__file__).with_name("alerts_test.yml").read_text(encoding="utf-8")
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len(alerts) > 8
    for alert in alerts:
        assert tests.count(f"{alert['alert']}") >= 2, "one that fires, one that is silent"
        assert {"summary", "description"} == alert["annotations"].keys()
        assert alert["labels"]["severity"] in {"page", "ticket"}


async def test_every_figure_is_one_that_the_sidecar_tells(shipped: ShippedSidecar) -> None:
    known = told(shipped.console_port)
    assert names_in(expressions()) <= known.keys()
    assert len(names_in(expressions())) > 10
    assert "sidecar_turns_opened" not in known, "a wrong name would be found"


def test_every_label_is_one_that_a_figure_has() -> None:
    documented = set(re.findall(r"`(\w+)`", " ".join(line.split("|")[4] for line in table_rows(5))))
    documented |= set(re.findall(r"`(\w+)`", " ".join(line.split("|")[3] for line in table_rows(4))))
    assert labels_in(expressions()) <= documented | {"le"}


def table_rows(columns: int) -> list[str]:
    return [line for line in METRICS_PAGE.splitlines() if line.startswith("|") and line.count("|") == columns + 1]


@needs_prometheus
async def test_a_prometheus_finds_its_figures(shipped: ShippedSidecar, backend: LegacyBackend, tmp_path: Path) -> None:
    port = unused_port()
    arguments = [
        f"--config.file={configuration(tmp_path, shipped.console_port)}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    await only_who_stays_is_kept(backend, shipped)
    process = await asyncio.create_subprocess_exec(
        str(tool("prometheus")),
        *arguments,
        f"--storage.tsdb.path={tmp_path / 'data'}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await eventually(lambda: asked(port, "query?query=sidecar_turns_cancelled_total"), WAIT_S)
        (up,) = await eventually(lambda: asked(port, "query?query=up"), WAIT_S)
        assert up["value"][1] == "1"
        await eventually(lambda: healths(port) == {"ok"}, WAIT_S)
    finally:
        process.terminate()
        await process.wait()


def configuration(folder: Path, console_port: int) -> Path:
    """Write what is shipped into a folder, but with the test's address, and in more of a hurry."""
    for name in RULE_FILES:
        shutil.copy(FOLDER / name, folder)
    token = folder / "token"
    token.write_text(TOKEN, encoding="utf-8")
    places = {
        "127.0.0.1:9901": f"127.0.0.1:{console_port}",
        "/etc/prometheus/cancel-sidecar.token": str(token),
        "interval: 15s": "interval: 1s",
    }
    file = folder / "prometheus.yml"
    file.write_text(replaced((FOLDER / "prometheus.yml").read_text(encoding="utf-8"), places), encoding="utf-8")
    return file


def asked(port: int, question: str) -> list[dict[str, Any]]:
    try:
        with urlopen(f"http://127.0.0.1:{port}/api/v1/{question}", timeout=10) as answer:
            data: dict[str, list[dict[str, Any]]] = json.load(answer)["data"]
    except URLError:
        return []
    return data.get("result") or data.get("groups") or []


def healths(port: int) -> set[str]:
    return {rule["health"] for group in asked(port, "rules") for rule in group["rules"]}
