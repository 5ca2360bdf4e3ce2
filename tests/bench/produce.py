"""Builds events in memory, says `ready`, and on `go` sends them as fast as the broker takes them; answers `sent N`.

Sends whole batches, so that the sender is no bottleneck for what it feeds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from tests.bench.crowd import events

BATCH_BYTES = 128 << 10


async def _send(bootstrap: str, topic: str, partitions: list[list[tuple[bytes, bytes]]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=BATCH_BYTES, acks="all")
    await producer.start()
    try:
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        await asyncio.gather(*(_one(producer, topic, n, found) for n, found in enumerate(partitions)))
    finally:
        await producer.stop()


async def _one(producer: AIOKafkaProducer, topic: str, partition: int, found: list[tuple[bytes, bytes]]) -> None:
    batch = producer.create_batch()
    for key, value in found:
        if batch.append(key=key, value=value, timestamp=None) is None:
            await (await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    if batch.record_count():
        await (await producer.send_batch(batch, topic, partition=partition))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "topic"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("count", "accounts", "seed", "first", "partitions"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    partitions: list[list[tuple[bytes, bytes]]] = [[] for _ in range(given.partitions)]
    for key, value in events(given.count, given.accounts, given.seed, given.first):
        partitions[(murmur2(key) & 0x7FFFFFFF) % given.partitions].append((key, value))
    asyncio.run(_send(given.bootstrap, given.topic, partitions))
    print(f"sent {given.count}", flush=True)


if __name__ == "__main__":
    main()
