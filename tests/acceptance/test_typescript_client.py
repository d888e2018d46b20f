"""The TypeScript client in Chromium, before a real `sidecar run`: judged by the backend's own database.

Backend, sidecar and browser serve all tests; each asks anew, and looks for its own request ids.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio

from sidecar.demo.backend import BackendKnobs, LegacyBackend
from tests.acceptance.process import SidecarProcess
from tests.fakes.app_site import AppSite, build_client, needs_client
from tests.fakes.browser import DEADLINE_S, browser, needs_chromium
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.browser import Browser

__all__ = ["browser"]

pytestmark = [needs_chromium, needs_client, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

TRANSPORTS: Final = ("postTextStream", "fetchTextStream")
WORDS: Final = 200
"""More than are made before anyone stops them."""
OPEN: Final = """
const [base] = arguments;
window.told = {text: "", words: []};
window.asking = {
  url: `${base}/api/ai-coach/chat`,
  cancelUrl: `${base}/api/ai-coach/cancel`,
  headers: {Authorization: "Bearer alice"},
  body: {messages: [{role: "user", content: "How do I calm down?"}], stream: true},
  onStart: () => told.words.push("start"),
  onChunk: (text) => { told.text += text },
  onDone: () => told.words.push("done"),
  onError: (failure) => told.words.push(`error ${failure.kind} ${failure.code}`),
  onAborted: () => told.words.push("aborted"),
};
return import("/app/dist/index.js").then((client) => { window.client = client });
"""
CANCEL_NOW: Final = """
return client.notifyServerCancel({url: asking.cancelUrl, headers: asking.headers, requestId: arguments[0], retryMs: 1});
"""


class App:
    """A page of the app, and what it stands before."""

    def __init__(self, browser: Browser, backend: LegacyBackend, sidecar: SidecarProcess, site: AppSite) -> None:
        self.browser = browser
        self.backend = backend
        self.sidecar = sidecar
        self.site = site

    async def open(self, *, origin: str | None = None) -> None:
        """Open a page, and have it load the client. With `origin`, it is a page from elsewhere."""
        await self.browser.open(f"{origin or self.sidecar.url}/app/package.json")
        await self.run(OPEN, self.sidecar.url if origin else "")

    async def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401  (as Browser.run)
        return await self.browser.run(script, *arguments)

    async def ask(self, transport: str, *, query: str = "", **more: object) -> str:
        """Ask; give the request id."""
        script = """
          const [transport, query, more] = arguments;
          window.ask = client[transport];
          window.stream = ask({...asking, url: asking.url + query, ...more});
          return stream.requestId;
        """
        return str(await self.run(script, transport, query, more))

    async def reading(self) -> None:
        """Wait until the page has shown some of the answer."""
        await self.browser.until("return told.text.split(' ').length > 3")

    async def told(self) -> list[str]:
        words: list[str] = await self.run("return told.words")
        return words

    async def rolled_back(self, request_id: str) -> None:
        """Wait until a turn is cancelled, and the database has nothing of it; nor will it ever, as its work is over."""
        await eventually(lambda: self.sidecar.turns().get(request_id) == "cancelled", DEADLINE_S)
        await self.backend.until(lambda: self.backend.quiet, DEADLINE_S)
        await eventually(lambda: request_id not in self.kept(), DEADLINE_S)
        record = self.backend.generations[request_id]
        assert record.cancelled
        assert record.words_made < WORDS

    def kept(self) -> dict[str, str]:
        """Give what the backend's database keeps: the conversations' ids, by request id."""
        return {request_id: kept.id for kept in self.backend.kept() for request_id in kept.request_ids}

    async def told_to_cancel(self, request_id: str) -> None:
        """Wait until the cancel endpoint has been asked by whoever asked the question."""
        query = "SELECT 1 FROM turns JOIN tombstones USING (principal) WHERE request_id = ?1 AND value = ?1"
        with closing(sqlite3.connect(self.sidecar.journal)) as journal:
            await eventually(lambda: journal.execute(query, (request_id,)).fetchone(), DEADLINE_S)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> AsyncIterator[App]:
    build_client()
    folder = tmp_path_factory.mktemp("app")
    site = AppSite()
    knobs = BackendKnobs(words=WORDS, word_s=0.05)
    async with LegacyBackend.serve(knobs, path=folder / "backend.db", furnish=site.furnish) as backend:
        sidecar = SidecarProcess(folder, backend.url)
        await sidecar.start()
        yield App(browser, backend, sidecar, site)
        await sidecar.close()


@pytest_asyncio.fixture(loop_scope="module")
async def app(running: App) -> App:
    await running.open()
    return running


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_abort_mid_stream_is_rolled_back(app: App, transport: str) -> None:
    request_id = await app.ask(transport)
    await app.reading()
    assert request_id in app.kept()
    await app.run("stream.abort()")
    await app.rolled_back(request_id)
    assert await app.told() == ["start", "aborted"]
    assert app.sidecar.causes()[request_id] in {"closed", "reset"}, "nobody was told; the connection's end sufficed"


async def test_stop_mid_stream_says_so_too(app: App, transport: str) -> None:
    request_id = await app.ask(transport)
    await app.reading()
    assert await app.run("return stream.stop()") == {"status": "cancelled", "known": True}
    await app.rolled_back(request_id)
    end = await app.run("return stream.ended")
    assert (end["state"], end["text"]) == ("aborted", await app.run("return told.text"))


async def test_cancelled_before_the_first_byte(app: App, transport: str) -> None:
    request_id = await app.ask(transport, query="?think_ms=60000")
    await app.backend.heard(request_id, DEADLINE_S)
    assert await app.run(CANCEL_NOW, request_id) == {"status": "cancelled", "known": True}
    await app.rolled_back(request_id)
    assert app.sidecar.causes()[request_id] == "requested"
    assert app.backend.generations[request_id].words_made == 0
    assert await app.run("return stream.ended.then((end) => [end.state, end.text])") == ["failed", ""]


async def test_cancelled_before_it_was_asked(app: App, transport: str) -> None:
    request_id = await app.run("return client.newRequestId()")
    assert await app.run(CANCEL_NOW, request_id) == {"status": "cancelled", "known": False}
    await app.ask(transport, requestId=request_id)
    assert await app.run("return stream.ended.then((end) => end.failure.code)") == "cancelled"
    assert await app.told() == ["error http cancelled"]
    assert request_id not in app.backend.questions


async def test_read_to_its_end_it_is_kept(app: App, transport: str) -> None:
    request_id = await app.ask(transport, query="?words=20&word_ms=10&announce=1", idFrames=True)
    end = await app.run("return stream.ended")
    assert (end["state"], end["conversationId"]) == ("done", app.kept()[request_id])
    assert end["text"] == await app.run("return told.text")
    assert len(end["text"].split()) == 20
    assert "conversation_id" not in end["text"]
    assert await app.told() == ["start", "done"]


@pytest.mark.parametrize("older", ["stop", "run"])
async def test_late_answers_of_an_older_question_are_silenced(app: App, transport: str, older: str) -> None:
    await app.run("asking.sequence = new client.RequestSequence({older: arguments[0]})", older)
    first = await app.ask(transport, query="?words=40")
    await app.reading()
    second = await app.run("""
      told.before = [told.text, ...told.words];
      const silent = {onStart: undefined, onChunk: undefined, onDone: undefined};
      window.newest = ask({...asking, ...silent, url: asking.url + '?words=3'});
      return newest.requestId;
    """)
    ends = await app.run("return Promise.all([stream.ended, newest.ended])")
    assert [end["state"] for end in ends] == ["aborted" if older == "stop" else "done", "done"]
    assert await app.run("return [told.text, ...told.words]") == await app.run("return told.before")
    if older == "stop":
        await app.rolled_back(first)
    else:
        assert first in app.kept()
    assert second in app.kept()


async def test_half_a_character_is_not_shown(app: App, transport: str) -> None:
    app.site.second_half.clear()
    await app.ask(transport, url="/app/halves")
    await app.browser.until("return told.text === 'grow '")
    app.site.second_half.set()
    assert await app.run("return stream.ended.then((end) => end.text)") == "grow 🌱!"
    assert await app.run("return told.text") == "grow 🌱!"


async def test_a_page_that_is_left_stops_its_answer_and_says_so(app: App, transport: str) -> None:
    request_id = await app.ask(transport)
    await app.reading()
    await app.run("client.stopOnPageHide(stream)")
    await app.browser.open("about:blank")
    await app.rolled_back(request_id)
    await app.told_to_cancel(request_id)


async def test_pages_from_elsewhere_ask_where_the_backend_allows_it(app: App, transport: str) -> None:
    """The sidecar relays what the backend says on CORS. Its own answers say nothing: they count, but are not shown."""
    await app.open(origin=app.sidecar.url.replace("127.0.0.1", "localhost"))
    request_id = await app.ask(transport)
    await app.reading()
    conversation_id = await app.run("return stream.conversationId")
    assert conversation_id == app.kept()[request_id]
    await app.run("stream.abort()")
    answer = await app.run(CANCEL_NOW, request_id)
    assert (answer["status"], answer["failure"]["kind"]) == ("failed", "network")
    await app.rolled_back(request_id)
    await app.told_to_cancel(request_id)


async def test_the_example_page_asks_and_stops(app: App, transport: str) -> None:
    app.browser.complaints()
    before = len(app.backend.questions)
    query = "?fetch" if transport == "fetchTextStream" else ""
    await app.browser.open(f"{app.sidecar.url}/app/example/index.html{query}")
    await app.run("document.getElementById('ask').click()")
    await app.browser.until("return document.getElementById('answer').textContent.includes('slowly')")
    await app.run("document.getElementById('stop').click()")
    assert await app.run("return document.getElementById('status').textContent") == "stopped"
    assert await app.run("return document.getElementById('stop').disabled")
    (request_id,) = app.backend.questions[before:]
    await app.rolled_back(request_id)
    assert [text for text in app.browser.complaints() if "favicon" not in text] == []
