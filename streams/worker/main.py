"""Runs one worker for `python -m streams.worker`: it makes the event loop, ends the worker, and returns the exit code.

`streams.worker.__main__` handles signals, and imports this module only after it has installed the handlers.
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
from streams.worker.commit import kind_of
from streams.worker.producer import ResultUnknown
from streams.worker.settings import read_worker_settings

log = logging.getLogger("upload_gate.worker")

STOP_WITHIN_S = 20.0
CRASHED = 1


class Ends(Protocol):
    """The source of requests to end: `streams.worker.__main__.Ending`."""

    is_due: bool

    def tell(self, end: Callable[[], object] | None) -> None:
        """Call `end` at each request to end, and now if one came already."""
        ...


def run(ending: Ends) -> int:
    """Run one worker from the environment and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("faust", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    for service in ("mode", "streams"):  # services log a crash that `run` logs with its cause
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
    except Exception as error:  # the edge of the process: any error of a service ends it and is logged
        log.critical("the worker ends: %s", str(error) or type(error).__name__, exc_info=error)
        return CRASHED
    return 0


async def serve(make: Callable[[], App], ending: Ends) -> None:
    """Run until `ending` requests the end or a service crashes. Raises the service's error."""
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
    except TimeoutError:  # the next owner folds uncommitted batches again
        log.warning("not everything could be closed within %g s", STOP_WITHIN_S)
    log.info("worker stopped")


def unless_fenced(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler for the loop. It ignores futures that the Kafka client drops when a transaction was fenced
    or its result is unknown, because the caller has got that error already. It logs all other uncaught errors."""
    error, future = context.get("exception"), context.get("future")
    forgotten = isinstance(future, asyncio.Future) and not isinstance(future, asyncio.Task)
    if not forgotten or error is None or not (kind_of(error) == "fenced" or isinstance(error.__cause__, ResultUnknown)):
        loop.default_exception_handler(context)
