"""The command line: what the operator may ask for, and how each ends.

exit code  0 done · 1 a peer failed (demo: not as promised) · 2 the operator can mend it · 130 Ctrl-C · 141 nobody reads

`arguments` is the grammar, `commands` does, `tables` shows.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final

from sidecar.cli.arguments import parser
from sidecar.errors import BugError, OperatorError, SidecarError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PEER_FAILED: Final = 1
OPERATOR_CAN_MEND: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it
NOBODY_READS: Final = 141  # 128 + SIGPIPE

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments ask for (default: the process's); give the exit code.

    Raises SystemExit where the arguments are wrong, or ask for help or the version, as argparse does.
    """
    arguments = parser().parse_args(argv)
    return _end_cleanly(lambda: arguments.act(arguments))


def _end_cleanly(act: Callable[[], int]) -> int:
    """Turn what is no bug of ours into plain lines and an exit code; a bug keeps its traceback."""
    try:
        code = act()
        sys.stdout.flush()
    except BugError:
        raise
    except OperatorError as error:
        return _complain(error, OPERATOR_CAN_MEND)
    except SidecarError as error:
        return _complain(error, PEER_FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _let_stdout_go()
        return NOBODY_READS
    return code


def _complain(error: SidecarError, code: int) -> int:
    lines = str(error).splitlines() or [type(error).__name__]
    with contextlib.suppress(OSError, AttributeError):  # stderr may be closed, or absent
        sys.stderr.write("".join(f"sidecar: {line}\n" for line in lines))
        sys.stderr.flush()
    return code


def _let_stdout_go() -> None:
    """Send what is still buffered nowhere, so that the interpreter's last flush does not complain either."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
