"""Runs the part of a command that needs Kafka, once a broker has answered, and says so if the command waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from gate.cli.output import say
from gate.errors import redact

SAY_AFTER_S: Final = 1.0

T = TypeVar("T")


def with_kafka(bootstrap: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What `work` returns. Raises StoreUnavailable within four seconds if no broker answers, before `work` begins.

    A client of Kafka would wait up to half a minute for a broker that accepts connections and answers nothing.
    """
    from gate.stores.kafka.topics import require_answer

    async def run() -> T:
        notice = asyncio.get_running_loop().call_later(SAY_AFTER_S, say, waiting_for(bootstrap))
        try:
            await require_answer(bootstrap)
        finally:
            notice.cancel()
        return await work()

    return asyncio.run(run())


def waiting_for(bootstrap: str) -> str:
    """The sentence that a command says while it waits."""
    return f"waiting for Kafka at {redact(bootstrap)} to answer"
