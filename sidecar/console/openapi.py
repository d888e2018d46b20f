"""The API's document (OpenAPI 3.1), made from the endpoints themselves. Pure."""

from __future__ import annotations

import re
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from sidecar.console.models import Nothing, ProblemOut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import BaseModel

    from sidecar.console.endpoint import Endpoint

    Json = dict[str, Any]

REF: Final = "#/components/schemas/{model}"
ABOUT: Final = (
    "What the operator may see and do. Where `console.token` is set, it is sent as a bearer. Whatever changes "
    "something is a POST with `Content-Type: application/json`."
)
_REFUSED: Final = {
    HTTPStatus.BAD_REQUEST: "Something that was sent cannot be used.",
    HTTPStatus.UNAUTHORIZED: "The token is missing or wrong.",
    HTTPStatus.MISDIRECTED_REQUEST: "The console is not known by this name.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The journal cannot be read or written.",
}
_REFUSED_CHANGE: Final = {
    HTTPStatus.FORBIDDEN: "The request comes from another site's page.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Only JSON is taken.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too long.",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not come.",
}


def document(endpoints: Iterable[Endpoint]) -> Json:
    """Give the document."""
    listed = tuple(endpoints)
    paths: dict[str, Json] = {}
    for endpoint in listed:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "cancel-sidecar console", "version": version("cancel-sidecar"), "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": _schemas(listed),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _operation(endpoint: Endpoint) -> Json:
    refusals = _REFUSED | (_REFUSED_CHANGE if endpoint.body else {}) | dict(endpoint.refusals)
    operation: Json = {
        "operationId": _name(endpoint),
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {
            str(endpoint.status.value): {"description": endpoint.status.phrase, "content": _content(endpoint.answer)},
            **{
                str(status.value): {"description": why, "content": _content(ProblemOut, "application/problem+json")}
                for status, why in sorted(refusals.items())
            },
        },
    }
    if endpoint.body:
        required = endpoint.body is not Nothing
        operation["requestBody"] = {"required": required, "content": _content(endpoint.body)}
    return operation


def _name(endpoint: Endpoint) -> str:
    words = re.findall(r"\w+", endpoint.path.removeprefix("/api/"))
    return "_".join([endpoint.method.lower(), *words])


def _path_parameters(endpoint: Endpoint) -> Iterator[Json]:
    for name in re.findall(r"\{(\w+)\}", endpoint.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameters(endpoint: Endpoint) -> Iterator[Json]:
    """Give a parameter for each field of the query's model."""
    properties = endpoint.query.model_json_schema(ref_template=REF).get("properties", {})
    for name, schema in properties.items():
        about = schema.pop("description", "")
        yield {"name": name, "in": "query", "required": False, "description": about, "schema": schema}


def _content(answer: type[BaseModel] | str, media: str = "application/json") -> Json:
    if isinstance(answer, str):
        return {answer: {"schema": {"type": "string"}}}
    return {media: {"schema": {"$ref": REF.format(model=answer.__name__)}}}


def _schemas(endpoints: Iterable[Endpoint]) -> Json:
    models: list[type[BaseModel]] = [ProblemOut]
    for endpoint in endpoints:
        named = (endpoint.answer, endpoint.body, endpoint.query)
        models += [model for model in named if isinstance(model, type)]
    _, schema = models_json_schema([(model, "serialization") for model in dict.fromkeys(models)], ref_template=REF)
    schemas: Json = schema["$defs"]
    return schemas
