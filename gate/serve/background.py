"""Work that goes on beside the checks, from the start of a gate to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

AGAIN_AFTER_S: Final = 1.0

log = logging.getLogger("upload_gate.background")


@asynccontextmanager
async def in_background(
    work: Callable[[], Coroutine[Any, Any, None]], name: str, again_after_s: float = AGAIN_AFTER_S
) -> AsyncIterator[None]:
    """Do `work` until the block ends. An error that the work itself does not meet is logged, and the work begins again."""
    task = asyncio.create_task(_again_and_again(work, name, again_after_s), name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _again_and_again(work: Callable[[], Coroutine[Any, Any, None]], name: str, again_after_s: float) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("unexpected error in the background (%s); it begins again in %g s", name, again_after_s)
            await asyncio.sleep(again_after_s)
        else:
            return
