"""Who is measured: the sidecar, what people would put in its place, and the floor below all of them.

In a command, a configuration and an environment, @NAME@ is filled in: @PORT@, @CONSOLE_PORT@, @UPSTREAM@ (host:port),
@HOST@, @UPSTREAM_PORT@, @RUN@ (a folder for this peer), @HOME@ (of the bench), @CONFIGS@, @FLOOR@, @PYTHON@.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECT, FLOOR, REFERENCE, SIDECAR = "direct", "floor", "nginx", "sidecar"
PLAIN_FLOOR = "plain-floor"
VENV = "@HOME@/venv/bin/"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One proxy. No command: the load goes straight to the backend, which is the baseline of latencies."""

    name: str
    command: str = ""
    config: str = ""  # a file in configs/
    env: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""  # a program without which it is left out
    openai: bool = False  # speaks that protocol only
    tracks: bool = False  # makes admin calls for those who leave
    slow: bool = False  # takes no part where thousands of streams would only show that it cannot
    start_s: float = 20


PEERS = (
    Peer(name=DIRECT),
    Peer(name=FLOOR, command="@FLOOR@ @PORT@ @UPSTREAM_PORT@"),
    Peer(name=REFERENCE, command="nginx -c @CONFIG@ -e stderr", config="nginx.conf", needs="nginx"),
    Peer(name=SIDECAR, command="@PYTHON@ -m sidecar run -c @CONFIG@", config="sidecar.toml", tracks=True),
    Peer(name="haproxy", command="haproxy -db -f @CONFIG@", config="haproxy.cfg", needs="haproxy"),
    Peer(
        name="caddy",
        command="caddy run --adapter caddyfile --config @CONFIG@",
        config="Caddyfile",
        env={"GOMAXPROCS": "1"},
        needs="caddy",
    ),
    Peer(
        name="envoy",
        command=f"{VENV}envoy -c @CONFIG@ --concurrency 1 --log-level error --disable-hot-restart",
        config="envoy.yaml",
        needs=f"{VENV}envoy",
    ),
    Peer(
        name="aiohttp",
        command=f"{VENV}python @CONFIGS@/aiohttp_proxy.py @PORT@ @UPSTREAM@",
        needs=f"{VENV}python",
        slow=True,
    ),
    Peer(
        name="aiohttp-uvloop",
        command=f"{VENV}python @CONFIGS@/aiohttp_proxy.py @PORT@ @UPSTREAM@ uvloop",
        needs=f"{VENV}python",
    ),
    Peer(
        name="starlette-httpx",
        command=(
            f"{VENV}uvicorn starlette_proxy:app --app-dir @CONFIGS@ --host 127.0.0.1 --port @PORT@ --loop uvloop "
            "--http httptools --no-access-log --backlog 4096 --timeout-keep-alive 75 --log-level error"
        ),
        env={"UPSTREAM": "@UPSTREAM@"},
        needs=f"{VENV}uvicorn",
        slow=True,
    ),
    Peer(
        name="mitmproxy",
        command=(
            "@HOME@/mitmproxy/bin/mitmdump -q --mode reverse:http://@UPSTREAM@ --listen-host 127.0.0.1 -p @PORT@ "
            "-s @CONFIGS@/mitmproxy_addon.py --set flow_detail=0 --set connection_strategy=lazy --set confdir=@RUN@"
        ),
        needs="@HOME@/mitmproxy/bin/mitmdump",
        slow=True,
    ),
    Peer(
        name="litellm",
        command="@HOME@/litellm/bin/litellm --config @CONFIG@ --host 127.0.0.1 --port @PORT@ --num_workers 1",
        config="litellm.yaml",
        env={
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MASTER_KEY": "sk-bench",
            "DISABLE_ADMIN_UI": "True",
        },
        needs="@HOME@/litellm/bin/litellm",
        openai=True,
        slow=True,
        start_s=120,
    ),
)


_GUARDS = (Peer(name=PLAIN_FLOOR, command="@PYTHON@ @CONFIGS@/plain_floor.py @PORT@ @UPSTREAM_PORT@"),)


def chosen(names: list[str]) -> list[Peer]:
    """The peers of these names, in the table's order. Raises KeyError for a name that is none."""
    everyone = (*PEERS, *_GUARDS)
    known = {peer.name: peer for peer in everyone}
    for name in names:
        if name not in known:
            raise KeyError(name)
    return [peer for peer in everyone if peer.name in names]
