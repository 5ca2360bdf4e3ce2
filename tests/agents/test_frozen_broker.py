"""A broker that stops in mid-run, its connections open, is noticed by the look of each second; a slow look is no outage."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gate.errors import StoreUnavailable
from streams.worker import timers
from streams.worker.outage import Outage
from streams.worker.timers import Upkeep, require_answer_in_turns


@pytest.fixture
def frozen() -> Iterator[str]:
    """The address of a port at which the kernel accepts and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


class LateOffsets:
    """A consumer that is given no offsets. It owns nothing, as one of more workers than there are partitions."""

    def __init__(self) -> None:
        self.calls = 0

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0}

    async def end_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        self.calls += 1
        return await asyncio.Future()


def upkeep_of(bootstrap: str, kafka: Outage, consumer: LateOffsets) -> Upkeep:
    nobody = cast(Any, SimpleNamespace())
    partitions = SimpleNamespace(where=SimpleNamespace(bootstrap=bootstrap), mine=[], count=lambda: None)
    intake = SimpleNamespace(consumer=consumer, topic="events")
    metrics = SimpleNamespace(events_partitions=SimpleNamespace(set=lambda count: None))
    monitor = SimpleNamespace(export=lambda: None)
    return Upkeep(*cast(Any, (partitions, intake, kafka, metrics, monitor, nobody, nobody)))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "OFFSETS_WITHIN_S", 0.05)
    monkeypatch.setattr(timers, "TURN_S", 0.02)


@pytest.mark.usefixtures("impatient")
async def test_a_broker_that_answers_nothing_any_more_is_away_after_one_look(
    frozen: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[bool] = []
    kafka, consumer = Outage("Kafka", told.append), LateOffsets()

    with caplog.at_level(logging.WARNING, "upload_gate.worker"):
        await upkeep_of(frozen, kafka, consumer).look()

    assert (consumer.calls, kafka.is_down, told) == (1, True, [True, False])
    assert f"Kafka is away (Kafka at {frozen} accepts connections and answers nothing)" in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_a_broker_that_answers_another_connection_is_not_away(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "TURN_S", 6.0)
    kafka, consumer = Outage("Kafka", lambda up: None), LateOffsets()

    await upkeep_of(kafka_bootstrap, kafka, consumer).look()

    assert (consumer.calls, kafka.is_down) == (1, False)


async def test_a_loop_that_is_held_up_does_not_take_its_delay_for_the_brokers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def after_two_turns(bootstrap: str, within_s: float) -> None:
        for _ in range(2):
            time.sleep(0.1)  # another task holds the loop up for longer than all the turns last
            await asyncio.sleep(0)

    monkeypatch.setattr(timers, "require_answer", after_two_turns)
    monkeypatch.setattr(timers, "TURN_S", 0.01)

    await require_answer_in_turns("127.0.0.1:1", 10)


async def test_a_refused_connection_is_reported_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

    with pytest.raises(StoreUnavailable, match="does not answer"):
        await require_answer_in_turns(address, 100)
