"""The JSON API: turns, steps, the settings in force, and what the operator may do about them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NoReturn

from sidecar.console.configuration import shown, shown_step
from sidecar.console.endpoint import EVENT_STREAM, Endpoint, get, give, post, read_body, read_query
from sidecar.console.models import (
    Accepted,
    ConfigOut,
    DropIn,
    EntryOut,
    Nothing,
    Overview,
    ReloadOut,
    Retried,
    StepPage,
    StepQuery,
    TurnDetail,
    TurnOut,
    TurnPage,
    TurnQuery,
)
from sidecar.console.problem import Problem
from sidecar.engine.operator import ID_MAX, NEWEST, TurnFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    from sidecar.config import Settings
    from sidecar.console.events import Events
    from sidecar.console.overview import Observatory
    from sidecar.console.ports import Desk
    from sidecar.engine.ports import Reloader

BY: Final = "console"
STEP_ID_DIGITS_MAX: Final = 18
NO_TURN: Final = {HTTPStatus.NOT_FOUND: "No turn has this id."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Answers by way of those behind it."""

    settings: Callable[[], Settings]
    desk: Desk
    observatory: Observatory
    events: Events
    reloader: Reloader

    # -- looking ---------------------------------------------------------------------------------------------------

    async def overview(self, _: web.Request) -> web.Response:
        """Answer with what the dashboard shows."""
        return give(await self.observatory.overview())

    async def turns(self, request: web.Request) -> web.Response:
        """Answer with a page of turns."""
        query = read_query(request, TurnQuery)
        which = TurnFilter(state=query.state, cause=query.cause, route=query.route)
        found = await self.desk.page(which, before=_place(query.before), limit=query.limit + 1)
        page = found[: query.limit]
        following = f"{page[-1].created_at!r},{page[-1].id}" if len(found) > len(page) else None
        return give(TurnPage(turns=[TurnOut.of(turn) for turn in page], next=following))

    async def turn(self, request: web.Request) -> web.Response:
        """Answer with a turn's full history."""
        history = await self.desk.history(request.match_info["id"])
        if history is None:
            _no_turn()
        steps = [shown_step(self.settings(), row) for row in history.steps]
        entries = [EntryOut.of(entry) for entry in history.entries]
        return give(TurnDetail(turn=TurnOut.of(history.turn), steps=steps, history=entries))

    async def outbox(self, request: web.Request) -> web.Response:
        """Answer with a page of steps."""
        query = read_query(request, StepQuery)
        found = await self.desk.outbox(query.state, query.limit + 1, before=query.before or ID_MAX)
        page = found[: query.limit]
        following = page[-1].id if len(found) > len(page) else None
        return give(StepPage(steps=[shown_step(self.settings(), row) for row in page], next=following))

    async def config(self, _: web.Request) -> web.Response:
        """Answer with the settings in force."""
        return give(ConfigOut(settings=shown(self.settings())))

    # -- acting ----------------------------------------------------------------------------------------------------

    async def cancel(self, request: web.Request) -> web.Response:
        """Have a turn cancelled."""
        await read_body(request, Nothing)
        turn_id = request.match_info["id"]
        if not await self.desk.cancel(turn_id):
            if await self.desk.history(turn_id) is None:
                _no_turn()
            raise Problem(HTTPStatus.CONFLICT, "The turn is undone already.", "There is nothing to cancel.")
        return give(Accepted(), HTTPStatus.ACCEPTED)

    async def retry(self, request: web.Request) -> web.Response:
        """Have a dead step tried again."""
        await read_body(request, Nothing)
        if not await self.desk.retry(_step_id(request)):
            mend = "See /api/outbox?state=dead for those that are."
            raise Problem(HTTPStatus.CONFLICT, "The step is not dead, or nobody wants it any more.", mend)
        return give(Accepted(), HTTPStatus.ACCEPTED)

    async def retry_all(self, request: web.Request) -> web.Response:
        """Have all dead steps tried again."""
        await read_body(request, Nothing)
        return give(Retried(retried=await self.desk.retry_all()), HTTPStatus.ACCEPTED)

    async def drop(self, request: web.Request) -> web.Response:
        """Have a step given up."""
        reason = (await read_body(request, DropIn)).reason
        if not await self.desk.drop(_step_id(request), reason=f"{reason} ({BY})"):
            mend = "See /api/outbox for those that are pending or dead."
            raise Problem(HTTPStatus.CONFLICT, "There is no such step, or it is over.", mend)
        return give(Accepted(), HTTPStatus.ACCEPTED)

    async def reload(self, request: web.Request) -> web.Response:
        """Have the configuration read again."""
        await read_body(request, Nothing)
        return give(ReloadOut.of(await self.reloader.reload()))

    # -- all of them -----------------------------------------------------------------------------------------------

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Give every endpoint."""
        return (*self._looking(), *self._acting())

    def _looking(self) -> Iterator[Endpoint]:
        every = "The same as server-sent events `overview`, whenever it has changed, at most each second"
        crowded = {HTTPStatus.SERVICE_UNAVAILABLE: "Too many are listening."}
        yield get("/api/overview", self.overview, "What the dashboard shows", Overview)
        yield get("/api/events", self.events.stream, every, EVENT_STREAM, refusals=crowded)
        yield get("/api/turns", self.turns, "Turns, newest first", TurnPage, query=TurnQuery)
        yield get("/api/turns/{id}", self.turn, "One turn's full history", TurnDetail, refusals=NO_TURN)
        yield get("/api/outbox", self.outbox, "Steps in every state, newest first", StepPage, query=StepQuery)
        yield get("/api/config", self.config, "The settings in force, secrets masked", ConfigOut)

    def _acting(self) -> Iterator[Endpoint]:
        undone = {**NO_TURN, HTTPStatus.CONFLICT: "The turn is undone already."}
        alive = {HTTPStatus.CONFLICT: "The step is not dead, or nobody wants it any more."}
        over = {HTTPStatus.CONFLICT: "There is no such step, or it is over."}
        given_up = "Have a step given up for good; its turn ends unresolved, or completed if it was delivered"
        yield post("/api/turns/{id}/cancel", self.cancel, "Have a turn cancelled", Accepted, refusals=undone)
        yield post("/api/outbox/retry-dead", self.retry_all, "Have all dead steps tried again", Retried)
        yield post("/api/outbox/{id}/retry", self.retry, "Have a dead step tried again", Accepted, refusals=alive)
        yield post("/api/outbox/{id}/drop", self.drop, given_up, Accepted, body=DropIn, refusals=over)
        yield post("/api/reload", self.reload, "Have the configuration read again", ReloadOut, status=HTTPStatus.OK)


def _place(text: str | None) -> tuple[float, str]:
    """Read where a page begins. Raises Problem."""
    if text is None:
        return NEWEST
    at, comma, turn_id = text.partition(",")
    try:
        place = (float(at), turn_id)
    except ValueError:
        place = (math.nan, "")
    if not comma or not math.isfinite(place[0]):
        mend = "Send the `next` of the page before, as it came."
        raise Problem(HTTPStatus.BAD_REQUEST, "The query parameter 'before' cannot be used.", mend)
    return place


def _step_id(request: web.Request) -> int:
    text = request.match_info["id"]
    if text.isascii() and text.isdecimal() and len(text) <= STEP_ID_DIGITS_MAX:
        return int(text)
    raise Problem(HTTPStatus.BAD_REQUEST, "A step's id is a number.", "See /api/outbox for the ids there are.")


def _no_turn() -> NoReturn:
    raise Problem(HTTPStatus.NOT_FOUND, "No turn has this id.", "See /api/turns for those there are.")
