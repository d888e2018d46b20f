"""A reload takes up certificates that were renewed in place, for connections that come from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.authority import Authority
from tests.fakes.scene import scene
from tests.integration.upstream.scripted import echo, scripted

if TYPE_CHECKING:
    from pathlib import Path


async def test_an_authority_that_was_replaced_in_place(tmp_path: Path) -> None:
    old, new = Authority(tmp_path), Authority(tmp_path / "new")
    async with scripted(echo, tls=new.server("localhost")) as port:
        upstream = {"url": f"https://localhost:{port}", "tls": {"ca": old.file}}
        async with scene(tmp_path, upstream=upstream) as running:
            client = await running.client()
            await client.get()
            assert (await client.answer()).status == 502
            new.replace(old)
            await running.sidecar.use(running.sidecar.in_force.settings)
            await client.get()
            assert (await client.answer()).body == b"hello"
