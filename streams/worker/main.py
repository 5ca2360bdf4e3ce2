"""One worker from its settings to its end, for `python -m streams.worker`: the loop, what ends it, the exit code.

Leaves hearing signals to `streams.worker.__main__`, which imports this only once it hears them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

import uvloop
from prometheus_client import CollectorRegistry

from gate.errors import UploadGateError
from streams.worker.app import App, build
from streams.worker.commit import ResultUnknown, kind_of
from streams.worker.settings import read_worker_settings

log = logging.getLogger("upload_gate.worker")

STOP_WITHIN_S = 20.0
CRASHED = 1


class Ends(Protocol):
    """What knows when to end: `streams.worker.Ending`."""

    is_due: bool

    def tell(self, end: Callable[[], object] | None) -> None:
        """Call `end` when it is time, or is already."""
        ...


def run(ending: Ends) -> int:
    """Run one worker from the environment; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("faust", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    for service in ("mode", "streams"):  # the log of services, where a crash is told that `run` tells with its cause
        logging.getLogger(service).setLevel(logging.CRITICAL)
    try:
        settings = read_worker_settings(os.environ)
        if ending.is_due:
            return 0
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(lambda: build(settings, CollectorRegistry()), ending))
    except UploadGateError as error:
        log.critical("%s", error)
        return error.exit_code
    except Exception as error:  # the edge of the process: whatever crashed a service ends it, with its cause
        log.critical("the worker ends: %s", str(error) or type(error).__name__, exc_info=error)
        return CRASHED
    return 0


async def serve(make: Callable[[], App], ending: Ends) -> None:
    """Run until `ending` says so or a service crashes. Raises what it crashed of."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.set_exception_handler(unless_fenced)
    ending.tell(lambda: loop.call_soon_threadsafe(ended.set))
    try:
        app = make()
        try:
            await app.start()
            await _first_of(ended.wait(), app.wait_until_stopped())
        finally:
            await _stop(app)
        if app.crash_reason is not None:
            raise app.crash_reason
    finally:
        ending.tell(None)


async def _first_of(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _stop(app: App) -> None:
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await app.stop()
    except TimeoutError:  # what was not committed is folded again by whoever owns it next
        log.warning("not everything could be closed within %g s", STOP_WITHIN_S)
    log.info("worker stopped")


def unless_fenced(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The Kafka client forgets bare futures of a transaction that was fenced or whose result is unknown; whoever waited
    for it was told. All else that nobody caught is told here."""
    error, future = context.get("exception"), context.get("future")
    forgotten = isinstance(future, asyncio.Future) and not isinstance(future, asyncio.Task)
    if not forgotten or error is None or not (kind_of(error) == "fenced" or isinstance(error.__cause__, ResultUnknown)):
        loop.default_exception_handler(context)
