"""Reads all records of the campaigns topic once, for the commands that show campaigns."""

from __future__ import annotations

import asyncio

from aiokafka.errors import KafkaError

from gate.stores.kafka.topics import existing
from gate.stores.kafka.trouble import kafka_unavailable
from streams.core.campaigns.catalogue import Catalogue
from streams.worker.campaign_feed import parsed_key
from streams.worker.changelog import PartitionReader

READ_WITHIN_S = 20.0


async def read_campaigns(bootstrap: str, topic: str) -> Catalogue:
    """The campaigns that the topic holds. Raises StoreUnavailable, also if there is no such topic."""
    await existing(
        bootstrap,
        topic,
        "A worker creates it when it starts; if one runs, compare UPLOAD_GATE_TOPIC_PREFIX with its own",
    )
    catalogue = Catalogue()
    try:
        async with asyncio.timeout(READ_WITHIN_S), PartitionReader(bootstrap, topic, 0) as reader:
            async for records in reader.since(0):
                for record in records:
                    named = parsed_key(record.key)
                    if named is not None:
                        catalogue.add(*named, record.value)
    except (KafkaError, OSError, TimeoutError, KeyError) as error:
        raise kafka_unavailable(bootstrap, "does not return campaigns", error) from error
    return catalogue
