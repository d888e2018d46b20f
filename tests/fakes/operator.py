"""The operator, as a program: asks the console over HTTP."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prometheus_client import Metric


@dataclass(frozen=True, slots=True)
class Told:
    """An answer."""

    status: int
    headers: dict[str, str]
    text: str
    json: Any


class Operator:
    """Asks a console."""

    def __init__(self, url: str, session: aiohttp.ClientSession, token: str = "") -> None:
        self.url = url
        self.session = session
        self._token = token

    async def ask(self, path: str, method: str = "GET", *, json: object = None, **headers: str) -> Told:
        """Ask; underscores in the headers' names are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._token:
            named.setdefault("Authorization", f"Bearer {self._token}")
        async with self.session.request(method, self.url + path, json=json, headers=named) as response:
            is_json = "json" in response.content_type
            text = await response.text()
            return Told(
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                text,
                await response.json(content_type=None) if is_json else None,
            )

    async def figures(self) -> dict[str, Metric]:
        """Read /metrics; by name."""
        told = await self.ask("/metrics")
        assert told.status == 200, told.text
        return {family.name: family for family in text_string_to_metric_families(told.text)}

    async def figure(self, sample: str, **labels: str) -> float:
        """Give the value of a sample; 0 where there is none (yet)."""
        for family in (await self.figures()).values():
            for one in family.samples:
                if one.name == sample and labels.items() <= one.labels.items():
                    return float(one.value)
        return 0.0


@asynccontextmanager
async def operator(url: str, token: str = "") -> AsyncIterator[Operator]:
    """Have an operator ask the console at a URL."""
    async with aiohttp.ClientSession() as session:
        yield Operator(url, session, token)
