"""An endpoint of the JSON API as data: what it takes, what it gives, who answers. Its document is made from that."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypedDict, TypeVar, Unpack

from aiohttp import web
from pydantic import BaseModel, ValidationError

from sidecar.console.models import Nothing
from sidecar.console.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]

Some = TypeVar("Some", bound=BaseModel)
EVENT_STREAM: Final = "text/event-stream"
BODY_TIMEOUT_S: Final = 10.0


class Rest(TypedDict, total=False):
    """What an endpoint may be told besides."""

    status: HTTPStatus
    query: type[BaseModel]
    body: type[BaseModel]
    refusals: Mapping[HTTPStatus, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`answer` is what 200 or 202 carries; `refusals` says for each other status when it is given."""

    method: str
    path: str
    handler: Answering
    summary: str
    answer: type[BaseModel] | str
    status: HTTPStatus = HTTPStatus.OK
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None
    refusals: Mapping[HTTPStatus, str] = field(default_factory=dict)


def get(path: str, handler: Answering, summary: str, answer: type[BaseModel] | str, **rest: Unpack[Rest]) -> Endpoint:
    """Describe an endpoint that changes nothing."""
    return Endpoint(method="GET", path=path, handler=handler, summary=summary, answer=answer, **rest)


def post(path: str, handler: Answering, summary: str, answer: type[BaseModel], **rest: Unpack[Rest]) -> Endpoint:
    """Describe an endpoint that changes something; unless told otherwise, it will be done, and needs no body."""
    told: Rest = {"status": HTTPStatus.ACCEPTED, "body": Nothing}
    told.update(rest)
    return Endpoint(method="POST", path=path, handler=handler, summary=summary, answer=answer, **told)


def read_query(request: web.Request, model: type[Some]) -> Some:
    """Read the query. Raises Problem, naming the parameter and what it may be."""
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise _problem(error, "query parameter") from None


async def read_body(request: web.Request, model: type[Some]) -> Some:
    """Read the JSON body; an empty one is an empty object. Raises Problem."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
    except TimeoutError:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "The body did not come.", "Send it with the request.") from None
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise _problem(error, "field") from None


def give(model: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Answer with a model."""
    return web.Response(text=model.model_dump_json(), status=status, content_type="application/json")


def _problem(error: ValidationError, what: str) -> Problem:
    """Put the first thing that is wrong into words."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = ".".join(map(str, first["loc"]))
    if not name:
        return Problem(HTTPStatus.BAD_REQUEST, "The body is no JSON object.", "Send an object, at least `{}`.")
    mend = "See /api/openapi.json for what may be sent."
    return Problem(HTTPStatus.BAD_REQUEST, f"The {what} {name!r} cannot be used: {first['msg']}.", mend)
