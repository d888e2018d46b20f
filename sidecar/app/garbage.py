"""The garbage collector, at ease: a look at every object takes so long that a client that leaves just then feels it.

What a start made stays, and is not looked at again. Turns and their connections leave no cycles behind (a test holds
them to it), so that what a collection finds is a library's, and little: it need not come often.
"""

from __future__ import annotations

import gc
from typing import Final

NEW_OBJECTS: Final = 20_000
"""As many more made than dropped bring about a look at these, which takes about two milliseconds."""
LOOKS: Final = 10
LARGER_LOOKS: Final = 100
"""So many looks bring about a larger one, and so many of those one at everything since the start."""


def settle() -> None:
    """To be called when all is started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, LOOKS, LARGER_LOOKS)
