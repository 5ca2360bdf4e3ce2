"""Uncaught errors in the worker's event loop: those that a fenced transaction leaves are not logged, others are."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError, ProducerFenced
from aiokafka.producer.message_accumulator import MessageAccumulator

from streams.worker.main import unless_fenced


class Loop:
    """Keeps what would be logged."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.told.append(context)


def told(context: dict[str, Any]) -> bool:
    loop = Loop()
    unless_fenced(cast(asyncio.AbstractEventLoop, loop), context)
    return loop.told == [context]


class Cluster:
    """What the client's accumulator reads of its cluster."""

    api_version = (2, 0)

    def leader_for_partition(self, at: TopicPartition) -> int:
        return 0


async def test_a_batch_that_waits_while_its_transaction_is_fenced_leaves_an_error_that_is_not_logged() -> None:
    left: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: left.append(context))
    waiting = MessageAccumulator(Cluster(), 1 << 20, 0, 30.0)
    batch = waiting.create_builder()
    batch.append(key=b"a", value=b"1", timestamp=1)
    sent = await waiting.add_batch(batch, TopicPartition("states", 0), 1.0)

    waiting.fail_all(ProducerFenced())
    with pytest.raises(ProducerFenced):
        await sent
    del waiting, batch, sent
    gc.collect()

    assert [type(context["exception"]) for context in left] == [ProducerFenced]
    assert not told(left[0])


@pytest.mark.parametrize("error", [KafkaTimeoutError(), OSError(), TimeoutError(), ValueError(), None])
async def test_any_other_error_of_a_future_is_logged(error: Exception | None) -> None:
    future = asyncio.get_running_loop().create_future()
    context = {"message": "never retrieved", "future": future} | ({"exception": error} if error else {})

    assert told(context)


async def test_a_task_or_a_callback_that_fails_is_logged_even_where_it_was_fenced() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    await task

    assert told({"message": "never retrieved", "exception": ProducerFenced(), "future": task})
    assert told({"message": "in a callback", "exception": ProducerFenced()})
