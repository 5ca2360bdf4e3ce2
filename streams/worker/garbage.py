"""Makes the worker collect cyclic garbage seldom, and never while a batch is folded.

A batch of a few thousand events makes a hundred thousand objects that hold no cycle and are let go at its end. To look
through them in the middle of the batch finds nothing, and costs up to a tenth of the worker's time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

GARBAGE_AFTER = 250_000
"""New objects after which Python collects cyclic garbage. Its default of 700 costs a tenth of the worker's time.

It is more than the objects of all batches that are on their way, about 130,000. A bound below that makes Python search the
batches themselves, which takes 35 ms a time and finds nothing.
"""


@contextmanager
def few_collections() -> Iterator[None]:
    """Collect cyclic garbage seldom, and never among imported objects."""
    before = gc.get_threshold()
    gc.freeze()  # imported objects stay, and need not be searched again and again
    gc.set_threshold(GARBAGE_AFTER, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def no_collections() -> Iterator[None]:
    """Collect no cyclic garbage meanwhile. Objects that are made and freed meanwhile do not count afterwards."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
