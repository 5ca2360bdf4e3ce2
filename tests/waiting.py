"""Waiting for a condition with a deadline, so that no test sleeps to wait."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(predicate: Callable[[], Awaitable[T] | T], timeout_s: float = 10.0, every_s: float = 0.02) -> T:
    """Poll `predicate`, plain or async, until what it returns is true, and return that.

    Fails the test with what it returned last once `timeout_s` seconds have passed; what it raises passes through.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = predicate()
        found = await answer if inspect.isawaitable(answer) else answer
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(_late(predicate, timeout_s, found))
        await asyncio.sleep(every_s)


def wait_until(predicate: Callable[[], T], timeout_s: float = 10.0, every_s: float = 0.02) -> T:
    """`eventually` for tests without an event loop."""
    deadline = time.monotonic() + timeout_s
    while not (found := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(_late(predicate, timeout_s, found))
        time.sleep(every_s)
    return found


def _late(predicate: Callable[[], object], timeout_s: float, found: object) -> str:
    name = getattr(predicate, "__qualname__", repr(predicate))
    return f"{name} was still {found!r} after {timeout_s:g} s"
