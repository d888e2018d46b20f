"""The dashboard in a real browser: it shows what happens while it happens, and does what the operator asks for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from selenium.webdriver.common.keys import Keys

from sidecar.console import events as events_module
from tests.fakes.browser import browser, needs_chromium
from tests.fakes.scene import scene
from tests.fakes.waiting import eventually
from tests.integration.console.abandoning import PATIENCE_S, ROLLBACK, leave_dead, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.browser import Browser
    from tests.fakes.scene import Scene

__all__ = ["browser"]  # a fixture

pytestmark = [needs_chromium, pytest.mark.timeout(120)]

CROWD: Final = 40
TEXT: Final = "return document.querySelector(arguments[0])?.textContent"
CLICK: Final = "document.querySelector(arguments[0]).click(); return true"
LIVE: Final = "return document.querySelector('#link').dataset.state === 'live'"
MARKUP: Final = "<img/src=x/onerror=document.title='owned'>"
DARK: Final = "#theme[aria-label='Switch to dark colours']"

NAMELESS: Final = """
const name = (element) => element.getAttribute('aria-label') || element.textContent.trim() || element.labels?.length;
return [...document.querySelectorAll('button, a, input, select, [role=img]')]
  .filter((element) => element.checkVisibility() && !name(element)).map((element) => element.outerHTML)
"""
FAINT: Final = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const linear = (c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const behind = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const colour = rgb(getComputedStyle(one).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const texts = [...document.querySelectorAll('body *')].filter((element) =>
  element.checkVisibility({ opacityProperty: true }) && !element.closest('svg, .hidden, .skip, :disabled') &&
  [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
return texts.map((element) => {
  const style = getComputedStyle(element);
  const [a, b] = [light(rgb(style.color)), light(behind(element))].sort((x, y) => y - x);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
  return [(a + 0.05) / (b + 0.05), large ? 3 : 4.5, element.textContent.trim().slice(0, 40)];
}).filter(([ratio, least]) => ratio < least)
"""


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "INTERVAL_S", 0.05)


@asynccontextmanager
async def at(browser: Browser, running: Scene) -> AsyncIterator[None]:
    """Have the dashboard open, and live; in the end, nothing may have been complained of."""
    await browser.open(running.sidecar.console_url)
    await browser.until(LIVE)
    try:
        yield
        assert browser.complaints() == []
    finally:
        await browser.open("about:blank")


async def shown(browser: Browser, selector: str, text: str) -> None:
    """Wait until an element's text is this."""
    await browser.until(f"{TEXT} === arguments[1]", selector, text)


async def test_what_happens_is_seen_as_it_happens(browser: Browser, running: Scene) -> None:
    async with at(browser, running):
        await shown(browser, "#k-live", "0")
        clients = [await stream(running, f"r{number}", f"c{number}") for number in range(CROWD)]
        await shown(browser, "#k-live", str(CROWD))
        for client in clients:
            client.close()
        await shown(browser, "#k-live", "0")
        await shown(browser, "#k-cancels", str(CROWD))
        await shown(browser, "#k-cancels-note", f"most often: closed ({CROWD})")
        await shown(browser, "#legend li span:last-child", f"closed {CROWD}")
        assert await browser.run("return document.querySelectorAll('#cancels rect').length") in {1, 2}
        await browser.until("return document.querySelectorAll('#latency .latency > div').length === 3")
        await browser.until("return document.querySelectorAll('#turns tr').length === 25")
        await browser.run(CLICK, "#more")
        await browser.until("return document.querySelectorAll('#turns tr').length === arguments[0]", CROWD)


async def test_a_live_turn_is_cancelled(browser: Browser, running: Scene) -> None:
    async with at(browser, running):
        client = await stream(running)
        await browser.until("return document.querySelector('#live td.do button:enabled')")
        await browser.run(CLICK, "#live td.do button")
        await browser.until("return document.querySelector('#ask').open")
        assert "r1" in await browser.run(TEXT, "#ask-text")
        await browser.run(CLICK, "#ask-no")
        await browser.until("return !document.querySelector('#ask').open")
        await browser.run(CLICK, "#live td.do button")
        await browser.run(CLICK, "#ask-yes")
        assert (await running.turn_in("cancelled", PATIENCE_S))["cause"] == "operator"
        await shown(browser, "#k-live", "0")
        await browser.until("return document.querySelector('#said p')?.textContent.includes('will be cancelled')")
        client.close()


async def test_a_dead_step_is_seen_and_tried_again(browser: Browser, running: Scene) -> None:
    async with at(browser, running):
        await leave_dead(running)
        await shown(browser, "#k-dead", "1")
        assert await browser.run("return document.querySelector('#t-dead').classList.contains('alarmed')")
        assert "answered 503" in await browser.run(TEXT, "#dead tr")
        assert "DELETE /admin/conversations/{conversation_id}" in await browser.run(TEXT, "#dead tr")
        await browser.until("return document.querySelector('#said .bad')?.textContent === '1 step died.'")
        running.admin.answers.clear()
        await browser.run("document.querySelector('#dead td.do button').click()")
        await running.turn_in("cancelled", PATIENCE_S)
        await shown(browser, "#k-dead", "0")
        await browser.until("return document.querySelector('#s-dead').hidden")


async def test_a_dead_step_is_dropped_by_keyboard_alone(browser: Browser, running: Scene) -> None:
    async with at(browser, running):
        await leave_dead(running)
        await browser.until("return document.querySelector('#dead td.do button')")
        await browser.run("document.querySelectorAll('#dead td.do button')[1].focus()")
        await press(browser, Keys.ENTER)
        await browser.until("return document.activeElement.id === 'ask-input'")
        await press(browser, Keys.ENTER)  # without a reason
        assert await browser.run("return document.querySelector('#ask').open")
        await press(browser, "removed by hand" + Keys.ENTER)
        await browser.until("return !document.querySelector('#ask').open")
        await eventually(lambda: running.steps()[-1]["state"] == "dropped", PATIENCE_S)
        assert running.steps()[-1]["error"] == "removed by hand (console)"
        await shown(browser, "#k-dead", "0")


async def test_one_turns_life_is_drawn(browser: Browser, running: Scene) -> None:
    async with at(browser, running):
        await leave_dead(running)
        await browser.until("return document.querySelector('#turns button')")
        await browser.run("document.querySelector('#turns button').focus()")
        await press(browser, Keys.ENTER)
        await browser.until("return document.querySelector('.timeline svg')")
        texts = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
        assert await browser.run(texts, ".timeline .lane") == ["answer", "cancel", "rollback"]
        assert await browser.run("return document.querySelectorAll('.timeline .bar.gone').length") == 1
        told = await browser.run(texts, ".history span")
        assert told[0] == "The request came, and was journalled"
        assert "rollback is dead after 1 attempts: answered 503" in told
        assert told[-1] == "Settled: unresolved"
        await press(browser, Keys.ESCAPE)
        await browser.until("return !document.querySelector('#turn').open")
        assert await browser.run("return document.activeElement.closest('#turns') !== null"), "focus went back"


async def test_the_settings_are_shown_and_read_again(browser: Browser, running: Scene) -> None:
    running.expected_errors.add("reload_refused")
    async with at(browser, running):
        await browser.run(CLICK, "#settings-open")
        await browser.until("return document.querySelector('#settings').open")
        assert f'"url": "{running.upstream.url}"' in await browser.run(TEXT, "#settings-body")
        await browser.run(CLICK, "#reload")
        await browser.until("return document.querySelector('#reloaded .bad')")
        assert "no configuration file" in await browser.run(TEXT, "#reloaded")


async def test_what_a_stranger_chose_is_text(browser: Browser, running: Scene) -> None:
    async with at(browser, running):
        client = await stream(running, MARKUP, MARKUP)
        await browser.until(f"{TEXT}?.startsWith(arguments[1])", "#live td button", MARKUP[:30])
        assert await browser.run("return document.querySelector('#live td.code').textContent") == MARKUP
        await browser.run(CLICK, "#live td button")
        await browser.until("return document.querySelector('.timeline svg')")
        assert MARKUP in await browser.run(TEXT, "#turn-title")
        assert await browser.run("return document.title") == "cancel-sidecar"
        assert await browser.run("return document.querySelectorAll('main img, dialog img').length") == 0
        client.close()
        await running.turn_in("cancelled", PATIENCE_S)


async def test_the_token_is_asked_for_and_kept_for_the_session_only(browser: Browser, tmp_path: Path) -> None:
    console = {"address": "127.0.0.1:0", "token": "correct-horse"}
    async with scene(tmp_path, console=console) as running:
        await browser.open(running.sidecar.console_url)
        await browser.until("return document.querySelector('#ask').open")
        assert await browser.run("return document.querySelector('#ask-input').type") == "password"
        await press(browser, "wrong" + Keys.ENTER)
        await browser.until("return document.querySelector('#said .bad')?.textContent.includes('not the right one')")
        await browser.until("return document.querySelector('#ask').open")
        await press(browser, "correct-horse" + Keys.ENTER)
        await browser.until(LIVE)
        kept = await browser.run("return [sessionStorage.length, localStorage.length, document.cookie]")
        assert kept == [1, 0, ""]
        client = await stream(running)
        await browser.until("return document.querySelector('#live td.do button:enabled')")
        await browser.run(CLICK, "#live td.do button")
        await browser.run(CLICK, "#ask-yes")
        await running.turn_in("cancelled", PATIENCE_S)
        await browser.run(CLICK, "#forget")
        await browser.until("return document.querySelector('#ask')?.open")
        client.close()
        await browser.open("about:blank")
        browser.complaints()  # 401 is one, to a browser


async def test_a_console_that_went_away_is_told_and_found_again(browser: Browser, running: Scene) -> None:
    await browser.open(running.sidecar.console_url)
    await browser.until(LIVE)
    await browser.run("window.fetched = window.fetch; window.fetch = () => Promise.reject(new TypeError('gone'))")
    url = running.sidecar.console_url
    await browser.run("window.stop()")  # ends the stream
    await browser.until("return document.querySelector('#link').dataset.state === 'lost'")
    await browser.run("window.fetch = window.fetched")
    await browser.until(LIVE)
    assert url in await browser.run("return location.href")
    await browser.open("about:blank")
    browser.complaints()


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_it_can_be_read_and_every_control_has_a_name(browser: Browser, running: Scene, theme: str) -> None:
    async with at(browser, running):
        await leave_dead(running)
        running.admin.answers[ROLLBACK.format("c2")] = 503
        client = await stream(running, "r2", "c2")
        await browser.until("return document.querySelector('#live tr') && document.querySelector('#dead tr')")
        if theme == "dark":
            await browser.run(CLICK, DARK)
        await browser.until("return document.documentElement.dataset.theme === arguments[0]", theme)
        assert await browser.run(FAINT) == []
        assert await browser.run(NAMELESS) == []
        await browser.run(CLICK, "#turns button")
        await browser.until("return document.querySelector('.timeline svg')")
        assert await browser.run(FAINT) == []
        assert await browser.run(NAMELESS) == []
        client.close()
        await browser.run("localStorage.clear()")


async def test_it_has_landmarks_headings_and_a_way_past_them(browser: Browser, running: Scene) -> None:
    async with at(browser, running):
        assert await browser.run("return document.documentElement.lang") == "en"
        assert await browser.run("return document.querySelectorAll('h1, header, main, footer').length") == 4
        unnamed = "section:not([aria-labelledby]), table:not(:has(caption)), th:not([scope])"
        assert await browser.run(f"return document.querySelectorAll('{unnamed}').length") == 0
        await press(browser, Keys.TAB)
        assert await browser.run("return document.activeElement.className") == "skip"
        await press(browser, Keys.ENTER)
        assert await browser.run("return document.activeElement.id") == "main"
        assert await browser.run("return document.querySelector('#said').getAttribute('aria-live')") == "polite"


@pytest.mark.parametrize("width", [360, 768, 1440])
async def test_it_fits(browser: Browser, running: Scene, width: int) -> None:
    async with at(browser, running):
        await leave_dead(running)
        client = await stream(running, "req_1795866442677_" + "x" * 80, "c" * 80)
        await browser.until("return document.querySelector('#live tr') && document.querySelector('#dead tr')")
        with resized(browser, width):
            assert await browser.run("return document.documentElement.scrollWidth <= innerWidth")
            await browser.run(CLICK, "#turns button")
            await browser.until("return document.querySelector('.timeline svg')")
            wider = "return [...document.querySelectorAll('dialog[open], dialog[open] *')].filter((one) => "
            assert await browser.run(f"{wider} one.getBoundingClientRect().right > innerWidth + 1).length") == 0
        client.close()


async def press(browser: Browser, keys: str) -> None:
    """Press keys, where the focus is."""
    await asyncio.to_thread(lambda: browser.driver.switch_to.active_element.send_keys(keys))


class resized:  # noqa: N801  (reads as a phrase)
    """Give the page another width for a while."""

    def __init__(self, browser: Browser, width: int) -> None:
        self._driver: Any = browser.driver
        self._width = width

    def __enter__(self) -> None:
        metrics = {"width": self._width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def __exit__(self, *_: object) -> None:
        self._driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
