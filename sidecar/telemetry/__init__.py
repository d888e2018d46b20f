"""What the sidecar tells of itself: lines (`log`) and figures (`metrics`)."""

from sidecar.telemetry.log import set_up_logging

__all__ = ["set_up_logging"]
