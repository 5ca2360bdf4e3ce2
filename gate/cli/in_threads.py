"""Makes calls that block, many at once and each within a time. A call that takes longer keeps neither the command nor its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def in_threads(calls: Sequence[Callable[[], T]], at_once: int, within_s: float) -> list[T | None]:
    """The results of `calls`, in their order, at most `at_once` of them at a time; None for one that takes over `within_s`.

    A call ends for us when its time is over. Its thread goes on, and the process ends without it. Raises what a call raises.
    """
    room = asyncio.Semaphore(at_once)

    async def one(call: Callable[[], T]) -> T | None:
        async with room:
            done = _begun(call)
            ended, _ = await asyncio.wait((done,), timeout=within_s)
            return done.result() if ended else None

    return await asyncio.gather(*map(one, calls))


def _begun(call: Callable[[], T]) -> asyncio.Future[T]:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            settle: Callable[[], None] = partial(done.set_result, call())
        except Exception as error:
            settle = partial(done.set_exception, error)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(lambda: None if done.done() else settle())

    threading.Thread(target=run, daemon=True).start()
    return done
