"""Records are packed into the batches that the Kafka client's own `append` would make of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder

from gate.stores.kafka.client import Record, send_packed

RECORDS: list[Record] = [
    (b"a-1", b"x" * 100),
    (None, b"y" * 90),
    (b"a-2", None),
    (b"a-3", b"z" * 5_000),
    (b"a-4", b""),
    *[(b"a-%d" % number, b"v" * number) for number in range(5, 60)],
]


class FakeProducer:
    """Makes batches of `size` bytes, and keeps what is sent."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.batches: list[tuple[int, bool, bytes]] = []
        self.places: list[tuple[str, int]] = []

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(self._size, 0, is_transactional=1)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[Any]:
        self.batches.append((batch.record_count(), batch.closed(), bytes(batch._build())))
        self.places.append((topic, partition))
        sent: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent


def packed_by_client(size: int, records: Sequence[Record], now_ms: int) -> list[tuple[int, bool, bytes]]:
    producer = FakeProducer(size)
    batches = [producer.create_batch()]
    for key, value in records:
        if batches[-1].append(key=key, value=value, timestamp=now_ms) is None:
            batches.append(producer.create_batch())
            batches[-1].append(key=key, value=value, timestamp=now_ms)
    return [(batch.record_count(), batch.closed(), bytes(batch._build())) for batch in batches]


@pytest.mark.parametrize("size", [1, 120, 600, 1 << 20])
async def test_batches_are_those_of_the_client_s_append(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = 1_795_428_000_500
    monkeypatch.setattr("time.time_ns", lambda: now_ms * 1_000_000)
    producer = FakeProducer(size)

    sent = await send_packed(producer, "scores", 3, iter(RECORDS))

    assert producer.batches == packed_by_client(size, RECORDS, now_ms)
    assert sum(count for count, _, _ in producer.batches) == len(RECORDS)
    assert producer.places == [("scores", 3)] * len(sent)


async def test_no_batch_is_sent_for_no_records() -> None:
    producer = FakeProducer(600)

    assert await send_packed(producer, "scores", 3, []) == []
    assert producer.batches == []
