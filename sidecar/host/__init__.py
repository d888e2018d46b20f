"""What surrounds the process: who starts it, stops it and has it read its configuration again."""

from sidecar.host.host import Host
from sidecar.host.reload import HangUps, Reload
from sidecar.host.signals import Signals

__all__ = ["HangUps", "Host", "Reload", "Signals"]
