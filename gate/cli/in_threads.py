"""Makes blocking calls in threads, each with a time limit. A call that exceeds it delays neither the command nor its exit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def in_threads(calls: Sequence[Callable[[], T]], at_once: int, within_s: float) -> list[T | None]:
    """The results of `calls`, in their order; None for a call that takes longer than `within_s` seconds.

    At most `at_once` calls run at a time. The thread of a call that takes longer goes on, but does not keep the process from
    ending. Raises what a call raises.
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
