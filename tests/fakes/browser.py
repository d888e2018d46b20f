"""Debian's Chromium, driven through its own chromedriver: pages run as they would for a person.

The driver blocks, and so is used from a thread: the servers that a page talks to run in the test's loop.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM: Final = shutil.which("chromium")
DRIVER: Final = shutil.which("chromedriver")
DEADLINE_S: Final = 30.0
"""A browser on a busy machine takes its time."""

needs_chromium: Final = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs Debian's chromium and chromium-driver (apt-get install chromium chromium-driver)",
)

_POLL_S: Final = 0.02

_ARGUMENTS: Final = (
    "--headless=new",
    "--no-sandbox",  # it runs as root in CI, and opens nothing but our own pages
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # containers give /dev/shm little room
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """A running browser with one window. Scripts are function bodies: they `return` what they give."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    async def open(self, url: str) -> None:
        """Load a page; done when its own scripts have run."""
        await asyncio.to_thread(self.driver.get, url)

    async def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401  (JSON, of whatever shape the script gives)
        """Run a script in the page, and give what it returns; a promise is awaited there. What it throws is raised."""
        return await asyncio.to_thread(self.driver.execute_script, script, *arguments)

    async def until(self, script: str, *arguments: object, timeout_s: float = DEADLINE_S) -> Any:  # noqa: ANN401
        """Run a script again and again until what it returns is true, and give that. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not (found := await self.run(script, *arguments)):  # noqa: ASYNC110  (a page sets no event)
                await asyncio.sleep(_POLL_S)
            return found

    def complaints(self) -> list[str]:
        """Give what the pages have put on the console as errors since last asked, failed loads included."""
        # Selenium has typed all but this.
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser with a profile of its own, that is gone with it."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in _ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER or ""))
    driver.set_script_timeout(DEADLINE_S)
    driver.set_page_load_timeout(DEADLINE_S)
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for a module's tests; import it where it is used."""
    with chromium() as browser:
        yield browser
