"""`[tracing]`: whether spans are sent, where, and how many."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field

from sidecar.config.section import Section
from sidecar.config.urls import CollectorUrl
from sidecar.config.values import HeaderName, HeaderValue, number

Ratio: TypeAlias = Annotated[float, Field(ge=0, le=1), BeforeValidator(number)]
ServiceName: TypeAlias = Annotated[HeaderValue, Field(min_length=1)]


class Tracing(Section):
    """`[tracing]`: off while no collector is named. It needs the extra `otel`."""

    endpoint: CollectorUrl = ""
    sample_ratio: Ratio = 1
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, repr=False)
    service_name: ServiceName = "cancel-sidecar"
