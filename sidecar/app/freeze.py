"""What is there when a process has started stays there: the garbage collector need not look through it again and again.

It would, every few thousand turns, and hold everything up for some fifteen milliseconds.
"""

from __future__ import annotations

import gc


def freeze_start() -> None:
    """Take all that now lives out of the collector's sight; once for a process, when it is about to serve."""
    gc.collect()
    gc.freeze()
