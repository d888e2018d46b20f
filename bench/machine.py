"""Where it was measured: figures without a machine's name are worth nothing."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
from pathlib import Path


def describe() -> dict[str, str]:
    """What has to be known of this machine to read the figures, in the order in which to say it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return {
        "sidecar": f"at commit {commit()}",
        "processor": processor(),
        "cores": f"{len(os.sched_getaffinity(0))}{', virtual' if is_virtual() else ''}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_version()} ({platform.python_build()[1]}, {platform.python_compiler()})",
        "descriptors": f"{hard if hard != resource.RLIM_INFINITY else 'unlimited'} at most a process",
        "compiler": version_of("cc", "--version"),
        "nginx": version_of("nginx", "-v"),
        "haproxy": version_of("haproxy", "-v"),
        "caddy": version_of("caddy", "version"),
    }


def commit() -> str:
    """What was measured; "unknown" outside a repository."""
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    return said.stdout.strip() or "unknown"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def is_virtual() -> bool:
    return " hypervisor" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


def version_of(program: str, flag: str) -> str:
    """The first line in which a program says which one it is; "absent" where there is none."""
    path = shutil.which(program)
    if path is None:
        return "absent"
    said = subprocess.run([path, flag], capture_output=True, text=True, check=False)
    return (said.stdout or said.stderr).strip().splitlines()[0]
