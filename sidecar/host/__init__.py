"""What surrounds the process: who starts it, stops it, watches it, and has it read its configuration again."""

from sidecar.host.host import Host
from sidecar.host.inherited import Inherited
from sidecar.host.reload import HangUps, Reload
from sidecar.host.signals import Signals
from sidecar.host.supervisor import Supervisor

__all__ = ["HangUps", "Host", "Inherited", "Reload", "Signals", "Supervisor"]
