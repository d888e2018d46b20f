"""Joins the tracer, where traces are wanted; what it needs is an extra that may not be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.errors import ConfigError
from sidecar.upstream.admin_traced import TracedAdmin

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from sidecar.config import Tracing
    from sidecar.engine.ports import AdminApi
    from sidecar.telemetry.otel import OtelTracer
    from sidecar.telemetry.spans import Tracer

NOT_INSTALLED: Final = (
    "tracing.endpoint: OpenTelemetry is not installed; pip install 'cancel-sidecar[otel]', or leave this setting out"
)


def tracer_of(settings: Tracing) -> Tracer | None:
    """Give the tracer; None where no traces are wanted. Raises ConfigError where it cannot be had."""
    if not settings.endpoint:
        return None
    tracer_class = _tracer_class()
    return tracer_class.to(
        settings.endpoint, settings.headers, service_name=settings.service_name, sample_ratio=settings.sample_ratio
    )


def traced(admin: AdminApi, settings: Tracing, stack: AsyncExitStack) -> tuple[AdminApi, Tracer | None]:
    """Put the tracer before the admin API, where traces are wanted; it is closed with the stack."""
    tracer = tracer_of(settings)
    if tracer is None:
        return admin, None
    stack.push_async_callback(tracer.close)
    return TracedAdmin(admin, tracer), tracer


def check_tracing(settings: Tracing) -> None:
    """Raise ConfigError where traces are wanted and cannot be had."""
    if settings.endpoint:
        _tracer_class()


def _tracer_class() -> type[OtelTracer]:
    try:
        from sidecar.telemetry.otel import OtelTracer  # noqa: PLC0415  (it takes half a second, and may be absent)
    except ImportError:
        raise ConfigError([NOT_INSTALLED]) from None
    return OtelTracer
