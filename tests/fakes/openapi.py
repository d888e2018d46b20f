"""Holds answers against the console's own document: what is not described, or of another shape, fails."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from tests.fakes.operator import Told


class Document:
    """The document, as the console serves it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def check(self, method: str, path: str, told: Told) -> None:
        """Fail where an answer is not as described."""
        operation = self.document["paths"][self._template(path)][method.lower()]
        described = operation["responses"].get(str(told.status))
        assert described is not None, f"{method} {path}: {told.status} is not described"
        media = told.headers["content-type"].partition(";")[0]
        assert media in described["content"], f"{method} {path}: {media} is not described"
        schema = {**described["content"][media]["schema"], "components": self.document["components"]}
        if told.json is not None:
            Draft202012Validator(schema).validate(told.json)

    def operations(self) -> set[tuple[str, str]]:
        """Give every method and path."""
        return {(method.upper(), path) for path, methods in self.document["paths"].items() for method in methods}

    def _template(self, path: str) -> str:
        plain, templates = path.partition("?")[0], list[str](self.document["paths"])
        exact = [template for template in templates if template == plain]
        like = [template for template in templates if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), plain)]
        return (exact or like)[0]
