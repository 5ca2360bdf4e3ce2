"""Keeps the linear algebra of a fit on one thread.

The vectors of these fits are short, and the threads of a linear algebra library wait for each other in busy loops:
several of them take several times the processor time and no less time. They also add in another order on a machine with
another number of cores, and the same rows and seed would give other weights there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it, and within a function that it decorates, linear algebra takes one thread."""
    import sklearn.linear_model  # noqa: F401 - only a library that is loaded can be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield
