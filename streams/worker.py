"""`python -m streams.worker`: one stream worker from the environment, until SIGTERM or SIGINT. Prints only log lines.

The only module of the worker with effects outside it. Ends with 0 after a signal, 1 after what no retry cures, 2 for
settings that cannot be used.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry, start_http_server

from gate.errors import UploadGateError
from gate.ports import AccountStore
from streams.app import WorkerSettings, build, settings_from
from streams.commit import kind_of

log = logging.getLogger("upload_gate.worker")

STOP_WITHIN_S = 20.0


async def serve(settings: WorkerSettings, registry: CollectorRegistry) -> None:
    """Run until a signal comes. Any number of signals end it once, properly. Raises what is beyond retrying."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None = None) -> None:
        if not ended.done():
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.set_exception_handler(_unless_fenced)
    async with account_store(settings) as store:
        app = build(settings, registry, store, end)
        log.info("worker of group %s starts, Kafka at %s", settings.group, settings.kafka)
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


def _unless_fenced(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The Kafka client forgets the bare future of a transaction that was fenced; all else that nobody caught is told."""
    error, future = context.get("exception"), context.get("future")
    forgotten = isinstance(future, asyncio.Future) and not isinstance(future, asyncio.Task)
    if not forgotten or error is None or kind_of(error) != "fenced":
        loop.default_exception_handler(context)


@asynccontextmanager
async def account_store(settings: WorkerSettings) -> AsyncIterator[AccountStore | None]:
    """The account store that scores go to; None where no Redis is given. Opens also where Redis does not answer."""
    if settings.redis is None:
        yield None
        return
    from gate.stores.redis import RedisAccountStore

    store = RedisAccountStore(settings.redis, prefix=settings.redis_prefix)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def main() -> int:
    """Run one worker; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("faust", "mode", "streams", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        settings = settings_from(os.environ)
        registry = CollectorRegistry()
        if settings.metrics_port:
            start_http_server(settings.metrics_port, addr="127.0.0.1", registry=registry)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, registry))
    except UploadGateError as error:
        log.critical("%s", error)
        return error.exit_code
    finally:
        # the interpreter's own end takes a moment in which another signal must not look like a crash
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
    return 0


if __name__ == "__main__":
    sys.exit(main())
