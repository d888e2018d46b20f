"""The composition root: the only room that joins the others. `assemble` joins them to one running sidecar."""

from sidecar.app.assemble import Sidecar, run
from sidecar.app.beside import operator_journal

__all__ = ["Sidecar", "operator_journal", "run"]
