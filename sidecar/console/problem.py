"""Errors as JSON (RFC 9457), each with its mend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http import HTTPStatus


class Problem(Exception):  # noqa: N818  (RFC 9457's word)
    """A request that is not fulfilled: why, and what to do about it."""

    def __init__(self, status: HTTPStatus, detail: str, mend: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.mend = mend
        self.headers = headers

    def response(self) -> web.Response:
        """Give it as an answer."""
        body = {"title": self.status.phrase, "status": self.status.value, "detail": self.detail, "mend": self.mend}
        return web.Response(
            text=json.dumps(body) + "\n",
            status=self.status,
            content_type="application/problem+json",
            headers=self.headers,
        )
