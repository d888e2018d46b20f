"""docs/DEPLOYING.md, followed as far as it can be without systemd: below a folder that takes the root's place."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from sidecar.config import Settings, Upstream
from tests.deploy.fronts import DEPLOY, replaced

ROOT: Final = DEPLOY.parent
PAGE: Final = (ROOT / "docs" / "DEPLOYING.md").read_text(encoding="utf-8")
FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL: Final = "\n".join(text for kind, text in FENCE.findall(PAGE) if kind == "sh")
SETTINGS: Final = Settings(upstream=Upstream(url="http://127.0.0.1:9000"))


def marked(marker: str) -> str:
    """Give the fenced text under a marker."""
    fence = FENCE.match(PAGE.partition(f"<!-- {marker} -->\n")[2])
    assert fence, f"there is no fenced text under <!-- {marker} -->"
    return fence[2]


def sidecar(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30, env=environment)


def follow(script: str) -> None:
    subprocess.run(["sh", "-e", "-c", script], check=True, cwd=ROOT, timeout=30)


def test_its_files_come_where_the_unit_looks_for_them(tmp_path: Path) -> None:
    (tmp_path / "etc" / "systemd" / "system").mkdir(parents=True)
    follow(replaced(marked("files"), {" /etc/": f" {tmp_path}/etc/"}))
    here = tmp_path / "etc" / "cancel-sidecar"
    assert (here / "env").stat().st_mode & 0o777 == 0o600
    assert sidecar("check", "-c", here / "sidecar.toml").returncode == 0
    service = (tmp_path / "etc" / "systemd" / "system" / "sidecar.service").read_text(encoding="utf-8")
    for path in ("/etc/cancel-sidecar/sidecar.toml", "/etc/cancel-sidecar/env", "/opt/cancel-sidecar/bin/sidecar run"):
        assert path in service
    for unit in re.findall(r"\bsidecar\.(?:service|socket)\b", marked("start")):
        assert (tmp_path / "etc" / "systemd" / "system" / unit).exists()


def test_its_package_comes_where_the_unit_looks_for_it() -> None:
    install = marked("install")
    assert "python3 -m venv /opt/cancel-sidecar\n" in install
    assert "-c constraints.txt" in install


def test_its_configuration_is_valid_and_the_journal_where_the_unit_lets_it_be(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.toml"
    file.write_text(marked("config"), encoding="utf-8")
    checked = sidecar("check", "-c", file, ADMIN_TOKEN="t")
    assert checked.returncode == 0, checked.stderr
    assert "/var/lib/cancel-sidecar/sidecar.db" in checked.stdout
    assert "ADMIN_TOKEN" in sidecar("check", "-c", file).stderr, "without the environment's file it says what is amiss"


def test_its_nginx_gets_the_name_that_is_put_in(tmp_path: Path) -> None:
    (tmp_path / "etc" / "nginx" / "conf.d").mkdir(parents=True)
    follow(replaced(marked("nginx").partition("nginx -t")[0], {" /etc/": f" {tmp_path}/etc/"}))
    site = (tmp_path / "etc" / "nginx" / "conf.d" / "cancel-sidecar.conf").read_text(encoding="utf-8")
    assert "server_name chat.example.org;" in site
    assert "chat.example.com" not in site


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?<![\w/])deploy/[\w./-]+", SHELL))))
def test_a_file_that_it_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("file", [file for file in DEPLOY.rglob("*") if file.is_file()], ids=lambda file: file.name)
def test_whatever_is_shipped_is_shown(file: Path) -> None:
    path = file.relative_to(ROOT).as_posix()
    assert path in PAGE or f"({Path('..', path).parent.as_posix()})" in PAGE


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"`((?:listen|upstream|journal|console)\.\w+)`", PAGE))))
def test_a_setting_that_it_names_is_there(setting: str) -> None:
    section, name = setting.split(".")
    assert name in type(getattr(SETTINGS, section)).model_fields


@pytest.mark.parametrize("alert", re.findall(r"`(Sidecar\w+)`", PAGE))
def test_an_alert_that_it_names_is_there(alert: str) -> None:
    assert f"alert: {alert}\n" in (DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8")


def test_its_anchors_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in PAGE.split("\n")
        if line.startswith("## ")
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= headings


# -- what it says of all fronts --------------------------------------------------------------------------------------

PATIENCE: Final = {
    "nginx/cancel-sidecar.conf": ["proxy_read_timeout"],
    "haproxy/haproxy.cfg": ["timeout client", "timeout server"],
    "caddy/Caddyfile": ["response_header_timeout"],
}
KEPT: Final = {
    "nginx/cancel-sidecar.conf": "keepalive_timeout",
    "haproxy/haproxy.cfg": "pool-purge-delay",
    "caddy/Caddyfile": "keepalive",
}


def seconds(file: str, name: str) -> int:
    """Read a time off a front's file."""
    found = re.search(rf"^[^#\n]*\b{name} (\d+)s", (DEPLOY / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{file} has no {name}"
    return int(found[1])


@pytest.mark.parametrize("file", PATIENCE)
def test_a_front_is_more_patient_than_the_sidecar(file: str) -> None:
    for name in PATIENCE[file]:
        assert seconds(file, name) > max(SETTINGS.upstream.response_timeout_s, SETTINGS.upstream.idle_timeout_s)


@pytest.mark.parametrize("file", KEPT)
def test_a_front_is_the_one_to_close_a_kept_connection(file: str) -> None:
    assert seconds(file, KEPT[file]) < SETTINGS.listen.keepalive_timeout_s
