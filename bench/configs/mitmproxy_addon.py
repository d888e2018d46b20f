"""mitmproxy: stream every answer, as its manual's example does."""

from typing import Protocol


class Response(Protocol):
    stream: bool


class Flow(Protocol):
    response: Response


def responseheaders(flow: Flow) -> None:
    flow.response.stream = True
