"""The image and the composition, judged without a container: by linter and schema, and their parts are run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from sidecar.cli.arguments import parser
from sidecar.config import load
from sidecar.demo.backend import read_database
from tests.deploy.fronts import DEPLOY, replaced, tool
from tests.deploy.shipped import TOKEN, ShippedSidecar, only_who_stays_is_kept

if TYPE_CHECKING:
    from sidecar.demo.backend import LegacyBackend

ROOT: Final = DEPLOY.parent
DOCKER: Final = DEPLOY / "docker"
DOCKERFILE: Final = DOCKER / "Dockerfile"
TEXT: Final = DOCKERFILE.read_text(encoding="utf-8")
IGNORED: Final = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
CONFIG: Final = DOCKER / "sidecar.toml"
COMPOSE: Final = DOCKER / "compose.yaml"
STATE: Final = "/var/lib/cancel-sidecar"


def ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True, timeout=30)


def instructions(name: str) -> list[str]:
    """Give what stands behind each instruction of that name, lines that are continued in one."""
    return re.findall(rf"^{name} (.*)$", TEXT.replace("\\\n", " "), re.MULTILINE)


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


def volumes(service: str) -> dict[str, str]:
    """Give a service's volumes: by path within, what lies there."""
    return {volume.split(":")[1]: volume.split(":")[0] for volume in services()[service]["volumes"]}


# -- the image -------------------------------------------------------------------------------------------------------

needs_hadolint = pytest.mark.skipif(tool("hadolint") is None, reason="hadolint is not installed")


@needs_hadolint
def test_the_linter_has_nothing_to_say() -> None:
    linted = ran(tool("hadolint") or "", DOCKERFILE)
    assert (linted.returncode, linted.stdout) == (0, "")


@needs_hadolint
def test_the_linter_finds_what_is_amiss(tmp_path: Path) -> None:
    spoilt = tmp_path / "Dockerfile"
    spoilt.write_text(
        replaced(TEXT, {"USER 10001:10001": "USER root", "python:3.11-slim-bookworm\nCOPY": "python\nCOPY"}), "utf-8"
    )
    assert {"DL3002", "DL3006"} <= set(re.findall(r"DL\d+", ran(tool("hadolint") or "", spoilt).stdout))


def test_it_runs_as_nobody_in_particular() -> None:
    assert instructions("USER") == ["10001:10001"], "a number: Kubernetes sees that it is not root's"
    assert f"-o 10001 -g 10001 -m 700 {STATE}" in TEXT, "a new volume takes its owner from the image"


def test_what_it_copies_is_there_and_not_ignored() -> None:
    copied = [word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert {name for name in copied if not (ROOT / name).exists()} == set()
    assert {f"!{name}" for name in copied} == {line for line in IGNORED if line.startswith("!")}
    assert IGNORED[1] == "*", "all else is ignored"


def test_what_the_package_is_built_from_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    copied = " ".join(instructions("COPY")).split()
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {project["project"]["readme"], *packages, "constraints.txt", "pyproject.toml"} <= set(copied)


def test_its_command_is_one_of_ours() -> None:
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["sidecar"]
    options = parser().parse_args(json.loads(instructions("CMD")[0]))
    assert options.config.as_posix() in volumes("sidecar"), "where the composition puts the configuration"


# -- the composition -------------------------------------------------------------------------------------------------

needs_compose = pytest.mark.skipif(tool("docker-compose") is None, reason="docker-compose is not installed")


@needs_compose
def test_compose_understands_it() -> None:
    understood = ran(tool("docker-compose") or "", "-f", COMPOSE, "config")
    assert understood.returncode == 0, understood.stderr
    assert yaml.safe_load(understood.stdout)["services"].keys() == {"backend", "sidecar"}


@needs_compose
def test_compose_finds_what_is_amiss(tmp_path: Path) -> None:
    spoilt = tmp_path / "compose.yaml"
    spoilt.write_text(replaced(COMPOSE.read_text(encoding="utf-8"), {"cap_drop": "cap_dropp"}), encoding="utf-8")
    assert "cap_dropp" in ran(tool("docker-compose") or "", "-f", spoilt, "config").stderr


def test_the_sidecar_is_fenced_in() -> None:
    sidecar = services()["sidecar"]
    assert sidecar["read_only"] is True
    assert sidecar["cap_drop"] == ["ALL"]
    assert sidecar["security_opt"] == ["no-new-privileges:true"]


def test_the_journal_outlasts_the_container() -> None:
    settings = load(CONFIG, {"CONSOLE_TOKEN": TOKEN})
    named = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["volumes"]
    assert volumes("sidecar")[Path(settings.journal.path).parent.as_posix()] in named
    assert volumes("sidecar")[STATE] != volumes("backend")[STATE], "its own"


def test_it_waits_for_the_last_streams_before_it_kills() -> None:
    grace = re.fullmatch(r"(\d+)s", services()["sidecar"]["stop_grace_period"])
    assert grace
    assert int(grace[1]) > load(CONFIG, {"CONSOLE_TOKEN": TOKEN}).listen.shutdown_grace_s


def test_the_ports_are_those_of_the_configuration() -> None:
    settings = load(CONFIG, {"CONSOLE_TOKEN": TOKEN})
    within = {port.split(":")[-1] for port in services()["backend"]["ports"]}
    assert within == {address.split(":")[-1] for address in (settings.listen.address, settings.console.address)}
    assert set(instructions("EXPOSE")[0].split()) == within


def test_the_backend_s_command_serves_the_port_that_the_sidecar_asks(tmp_path: Path) -> None:
    backend = services()["backend"]
    assert backend["command"][:2] == ["--port", load(CONFIG, {"CONSOLE_TOKEN": TOKEN}).upstream.url.split(":")[-1]]
    arguments = ["0" if word == "9000" else word for word in backend["command"]]
    command = [sys.executable, *backend["entrypoint"][1:], *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        healthy = [
            replaced(word, {"http://127.0.0.1:9000": url}) if "urllib" in word else word for word in probe(backend)
        ]
        assert ran(sys.executable, *healthy).returncode == 0
        process.terminate()
    assert process.returncode == 0
    assert read_database(tmp_path / "backend.db") == ()


def probe(service: dict[str, Any]) -> list[str]:
    kind, python, *arguments = service["healthcheck"]["test"]
    assert (kind, python) == ("CMD", "python")
    return list(arguments)


# -- both, run -------------------------------------------------------------------------------------------------------


async def test_its_configuration_does_the_job_and_its_health_is_seen(backend: LegacyBackend, tmp_path: Path) -> None:
    sidecar = ShippedSidecar(tmp_path, backend.url, CONFIG.read_text(encoding="utf-8"))
    found = re.search(r"CMD \[\"python\", (\"-c\", .*)\]", TEXT)
    assert found
    check = json.loads(f"[{replaced(found[1], {':9901/': f':{sidecar.console_port}/'})}]")
    assert ran(sys.executable, *check).returncode == 1, "nobody is there"
    await sidecar.start()
    try:
        assert ran(sys.executable, *check).returncode == 0
        await only_who_stays_is_kept(backend, sidecar)
    finally:
        await sidecar.close()
