"""What the worker's event loop is told that nobody caught: a fenced transaction's leftovers are no news, all else is."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaTimeoutError, ProducerFenced

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


async def test_the_bare_future_of_a_fenced_transaction_is_no_news() -> None:
    future = asyncio.get_running_loop().create_future()

    assert not told({"message": "never retrieved", "exception": ProducerFenced(), "future": future})


@pytest.mark.parametrize("error", [KafkaTimeoutError(), OSError(), TimeoutError(), ValueError(), None])
async def test_whatever_else_a_future_brings_is_told(error: Exception | None) -> None:
    future = asyncio.get_running_loop().create_future()
    context = {"message": "never retrieved", "future": future} | ({"exception": error} if error else {})

    assert told(context)


async def test_a_task_or_a_callback_that_fails_is_told_even_where_it_was_fenced() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    await task

    assert told({"message": "never retrieved", "exception": ProducerFenced(), "future": task})
    assert told({"message": "in a callback", "exception": ProducerFenced()})
