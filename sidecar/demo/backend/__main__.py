"""The backend as a process of its own: `python -m sidecar.demo.backend --port N --db FILE [words=20 word_ms=5 ...]`.

It prints its URL as one line once it is listening, and ends on SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path

from sidecar.demo.backend.knobs import BackendKnobs, turned
from sidecar.demo.backend.server import LegacyBackend


def main() -> int:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="python -m sidecar.demo.backend", description="A legacy AI-coach backend.")
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--db", type=Path, required=True, help="the SQLite file")
    parser.add_argument("--admin-token", help="the token that the admin API asks for")
    parser.add_argument("knobs", nargs="*", metavar="NAME=VALUE", help="as in a query: words=20 word_ms=5 announce=1")
    options = parser.parse_args()
    pairs = dict(text.split("=", 1) for text in options.knobs)
    knobs = replace(turned(BackendKnobs(), pairs), admin_token=options.admin_token)
    asyncio.run(_serve(knobs, options.db, options.port))
    return 0


async def _serve(knobs: BackendKnobs, path: Path, port: int) -> None:
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    async with LegacyBackend.serve(knobs, path=path, port=port) as backend:
        sys.stdout.write(f"{backend.url}\n")
        sys.stdout.flush()
        await ending.wait()


if __name__ == "__main__":
    sys.exit(main())
