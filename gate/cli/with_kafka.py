"""Kafka for a command: which servers and topics, and its work there once a broker has answered; it says if it waits for one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gate.cli.addresses import resolve_addresses
from gate.cli.output import say
from gate.errors import redact

if TYPE_CHECKING:
    from gate.records.topics import Topics

SAY_AFTER_S: Final = 1.0

T = TypeVar("T")


def topics_of_command() -> Topics:
    """The topics, by the prefix that the environment names."""
    from gate.records.topics import Topics
    from gate.settings import topic_prefix

    return Topics(topic_prefix(os.environ))


def cluster_of_command(state: Path | None, kafka: str | None) -> tuple[str, Topics]:
    """Kafka's bootstrap servers and the topics. Raises SettingInvalid."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # final failures are raised as errors
    return resolve_addresses(state, kafka=kafka).kafka, topics_of_command()


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
