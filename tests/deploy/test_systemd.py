"""The systemd units, judged by systemd's own tools, which need no running systemd."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from sidecar.config import Settings, Upstream
from tests.deploy.fronts import DEPLOY, replaced, tool

UNITS: Final = DEPLOY / "systemd"
SERVICE: Final = UNITS / "sidecar.service"
EXPOSURE_MAX: Final = 12
"""In tenths, of 100. What is left: it is on the network, on the host's root, and reads /proc for its metrics."""

needs_systemd = pytest.mark.skipif(tool("systemd-analyze") is None, reason="systemd-analyze is not installed")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(tool("systemd-analyze")), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Give the units as they would be installed, but with this installation's sidecar."""
    here = {"/opt/cancel-sidecar/bin/": f"{Path(sys.executable).parent}/"}
    copies = []
    for unit in sorted(UNITS.iterdir()):
        copy = tmp_path / unit.name
        text = unit.read_text(encoding="utf-8")
        copy.write_text(replaced(text, here) if unit == SERVICE else text, encoding="utf-8")
        copies.append(copy)
    return copies


@needs_systemd
def test_systemd_understands_them(units: list[Path]) -> None:
    verified = analyze("verify", "--man=no", "--recursive-errors=no", *units)
    assert (verified.returncode, verified.stderr) == (0, "")


@needs_systemd
def test_a_word_that_systemd_does_not_know_is_found(units: list[Path]) -> None:
    for unit in units:
        unit.write_text(unit.read_text(encoding="utf-8") + "\n[Service]\nProtectSistem=strict\n", encoding="utf-8")
    assert "ProtectSistem" in analyze("verify", "--man=no", "--recursive-errors=no", *units).stderr


@needs_systemd
def test_the_service_is_exposed_to_little(units: list[Path]) -> None:
    service = next(unit for unit in units if unit.name == SERVICE.name)
    judged = analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}", service)
    assert judged.returncode == 0, judged.stdout[-400:]


@needs_systemd
@pytest.mark.parametrize("fence", ["RestrictNamespaces=yes", "SystemCallFilter=@system-service"])
def test_a_service_with_a_gap_in_its_fence_is_more_exposed(units: list[Path], fence: str) -> None:
    service = next(unit for unit in units if unit.name == SERVICE.name)
    service.write_text(replaced(service.read_text(encoding="utf-8"), {fence: ""}), encoding="utf-8")
    assert analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}", service).returncode != 0


def test_it_waits_for_the_last_streams_before_it_kills() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser's own docs have it
    unit.read(SERVICE, encoding="utf-8")
    settings = Settings(upstream=Upstream(url="http://127.0.0.1:9000"))
    assert float(unit["Service"]["TimeoutStopSec"]) > settings.listen.shutdown_grace_s


def test_the_socket_is_the_address_that_is_the_default() -> None:
    settings = Settings(upstream=Upstream(url="http://127.0.0.1:9000"))
    found = re.search(r"^ListenStream=(.*)$", (UNITS / "sidecar.socket").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    assert found[1] == settings.listen.address
