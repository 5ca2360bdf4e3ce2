"""Requests to score all accounts again, in a topic that every worker looks at: any of them later than a worker's last
request is obeyed, also by workers that start later."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from gate.records.topics import Topics
from gate.stores.kafka.client import connected, stopped
from gate.stores.kafka.connection import connection
from gate.stores.kafka.topics import declare, existing
from gate.stores.kafka.trouble import kafka_unavailable

SEND_WITHIN_S = 15.0


async def request_scores(bootstrap: str, topics: Topics, by: str, at: str) -> int:
    """Request all scores anew, in the name of `by`; returns how many partitions the accounts are in.

    Raises StoreUnavailable; then the request may have been written anyway.
    """
    _, events = await existing(bootstrap, topics.events.name, "Start a worker first")
    await declare(bootstrap, topics)
    producer: Any = AIOKafkaProducer(**connection(bootstrap), acks="all", enable_idempotence=True)
    try:
        async with asyncio.timeout(SEND_WITHIN_S):
            await connected(producer)
            value = json.dumps({"by": by, "at": at, "version": 1}).encode()
            await producer.send_and_wait(topics.rescores.name, key=b"all", value=value)
    except (KafkaError, OSError, TimeoutError) as error:
        raise kafka_unavailable(bootstrap, "did not keep the request", error) from error
    finally:
        await stopped(producer)
    return events.partitions
