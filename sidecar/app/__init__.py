"""The composition root: the only room that joins the others.

`assemble` joins them to one running sidecar, `parent` has several of them as workers, `process` is around either, and
`beside` is for the operator's commands.
"""

from sidecar.app.assemble import Sidecar
from sidecar.app.beside import operator_journal
from sidecar.app.process import run

__all__ = ["Sidecar", "operator_journal", "run"]
