"""Deletes the topics that a replay made under its own prefix, and refuses to delete the system's topics."""

from __future__ import annotations

import asyncio

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from gate.records.topics import Topics
from gate.stores.kafka.connection import connection
from gate.stores.kafka.trouble import kafka_unavailable

DEADLINE_S = 15.0


async def drop(bootstrap: str, topics: Topics) -> None:
    """Delete all of `topics` that exist. Raises StoreUnavailable, and ValueError if they have no prefix."""
    if not topics.prefix:
        raise ValueError("topics without a prefix are the system's own")
    admin = AIOKafkaAdminClient(**connection(bootstrap), request_timeout_ms=10_000)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await admin.start()
            present = set(await admin.list_topics())
            names = [topic.name for topic in topics.all() if topic.name in present]
            if names:
                await admin.delete_topics(names)
    except (KafkaError, OSError, TimeoutError) as error:
        raise kafka_unavailable(bootstrap, "did not delete topics", error) from error
    finally:
        await admin.close()
