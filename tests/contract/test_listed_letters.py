"""The last dead letters of a real topic, however many markers of transactions and of letters sent again lie after them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer

from gate.records.topics import Topics
from gate.stores.kafka.topics import declare
from streams.pipeline.effects.dead_letters import DeadLetter, encode_dead_letter
from streams.worker.dead_letters import REPLAYED_KEY, last_dead_letters


@pytest.mark.parametrize("markers", [0, 300])
async def test_letters_are_listed_from_behind_any_number_of_markers(
    kafka_bootstrap: str, unique: Callable[[], str], markers: int
) -> None:
    topics = Topics(f"{unique()}.")
    await declare(kafka_bootstrap, topics)
    name = topics.dead_letters.name
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        for number in range(9):
            key, letter = encode_dead_letter(DeadLetter("events", 0, number, "json.malformed", "no", b"{", b"k"))
            await producer.send_and_wait(name, letter, key=key, partition=0)
        for _ in range(markers):
            await producer.send(name, b'{"replayed_letter":8}', key=REPLAYED_KEY, partition=0)

    listed = await last_dead_letters(kafka_bootstrap, topics, 4)

    assert [each.letter.body.origin.offset for each in listed] == [5, 6, 7, 8]
    assert [each.was_replayed for each in listed] == [False, False, False, markers > 0]
    assert len(await last_dead_letters(kafka_bootstrap, topics, 20)) == 9
