"""One worker from its settings to its end: the app, the score store, the metrics' port, and what ends it.

Leaves hearing signals to `worker`, which imports this only once it hears them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import uvloop
from prometheus_client import CollectorRegistry, start_http_server

from gate.errors import UploadGateError
from gate.ports.scores import ScoreStore
from streams.worker.app import build
from streams.worker.commit import kind_of
from streams.worker.settings import WorkerSettings, read_worker_settings

log = logging.getLogger("upload_gate.worker")

STOP_WITHIN_S = 20.0


class Ends(Protocol):
    """What knows when to end: `streams.worker.Ending`."""

    is_due: bool

    def tell(self, end: Callable[[], object] | None) -> None:
        """Call `end` when it is time, or is already."""
        ...


def run(ending: Ends) -> int:
    """Run one worker from the environment; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("faust", "mode", "streams", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        settings = read_worker_settings(os.environ)
        if ending.is_due:
            return 0
        registry = CollectorRegistry()
        if settings.metrics_port:
            start_http_server(settings.metrics_port, addr="127.0.0.1", registry=registry)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, registry, ending))
    except UploadGateError as error:
        log.critical("%s", error)
        return error.exit_code
    return 0


async def serve(settings: WorkerSettings, registry: CollectorRegistry, ending: Ends) -> None:
    """Run until `ending` says so. Raises what is beyond retrying."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None = None) -> None:
        if not ended.done():
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

    loop.set_exception_handler(unless_fenced)
    ending.tell(lambda: loop.call_soon_threadsafe(end))
    try:
        async with score_store(settings) as store:
            app = build(settings, registry, store, end)
            log.info("worker of group %s starts, Kafka at %s", settings.group, settings.kafka)
            if settings.salt_is_default:
                log.warning(
                    "UPLOAD_GATE_SALT is not set: hashes of addresses and devices can be turned back; set one secret "
                    "for all workers and gates"
                )
            await _until(app, ended)
    finally:
        ending.tell(None)


async def _until(app: Any, ended: asyncio.Future[None]) -> None:
    await app.start()
    try:
        await ended
    finally:
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await app.stop()
        except TimeoutError:  # what was not committed is folded again by whoever owns it next
            log.warning("not everything could be closed within %g s", STOP_WITHIN_S)
        shutil.rmtree(app.conf.datadir, ignore_errors=True)
        log.info("worker stopped")


def unless_fenced(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The Kafka client forgets the bare future of a transaction that was fenced; all else that nobody caught is told."""
    error, future = context.get("exception"), context.get("future")
    forgotten = isinstance(future, asyncio.Future) and not isinstance(future, asyncio.Task)
    if not forgotten or error is None or kind_of(error) != "fenced":
        loop.default_exception_handler(context)


@asynccontextmanager
async def score_store(settings: WorkerSettings) -> AsyncIterator[ScoreStore | None]:
    """The store that scores go to; None where no Redis is given. It connects when the first scores are put."""
    if settings.redis is None:
        yield None
        return
    from gate.stores.redis.scores import RedisScoreStore

    store = RedisScoreStore(settings.redis, prefix=settings.redis_prefix)
    try:
        yield store
    finally:
        await store.close()
