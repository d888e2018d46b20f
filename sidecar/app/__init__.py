"""The composition root: the only room that joins the others. `assemble` joins them to one running sidecar."""

from sidecar.app.assemble import Sidecar, operator_journal, run

__all__ = ["Sidecar", "operator_journal", "run"]
