"""After a transaction that failed, the owner publishes the crowd's counts of its batches again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from gate.core.duration import DAY_US
from gate.core.fields.times import LATEST_US
from gate.records.topics import Topics
from gate.stores.kafka import client
from streams.core.crowd import DEVICE, Crowd
from streams.core.facts import latest_us, unpack
from streams.core.features import last_evidence_us
from streams.files.scorecards import load_scorecard
from streams.pipeline.effects import CrowdCounts, Effects, Scores, States
from streams.pipeline.step import Record
from streams.worker.agents import Fetch, Folding
from streams.worker.breaker import Breaker
from streams.worker.changelog import Accounts
from streams.worker.commit import Misplaced, Owner, Where
from streams.worker.continuity import Log
from streams.worker.outage import Outage
from streams.worker.partition import Event, Partition
from streams.worker.scores_to_redis import ScoresToRedis
from tests.waiting import eventually

NOW_US = 1_795_428_000_000_000


class FakeProducer:
    """Fails each transaction from number `fails_from` on."""

    def __init__(self, fails_from: int) -> None:
        self.begun = 0
        self._fails_from = fails_from
        self._offset = 0

    async def begin_transaction(self) -> None:
        self.begun += 1
        if self.begun >= self._fails_from:
            raise KafkaError("gone")

    def create_batch(self) -> Any:
        return BatchBuilder(1 << 20, 0, is_transactional=1)

    async def send_batch(self, batch: object, topic: str, partition: int) -> asyncio.Future[Any]:
        sent: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        sent.set_result(type("Metadata", (), {"offset": self._offset}))
        return sent

    async def send_offsets_to_transaction(self, offsets: object, group: str) -> None:
        pass

    async def commit_transaction(self) -> None:
        pass

    async def stop(self) -> None:
        pass


class Told:
    """Hooks that keep what they are told, and hand the crowd's counts back as a worker does."""

    def __init__(self, crowd: Crowd) -> None:
        self.done = 0
        self.errors: list[Exception] = []
        self._crowd = crowd

    def committed(self, owner: Owner, effects: Effects, seconds: float) -> None:
        self.done += 1

    def commit_failed(self, owner: Owner, error: Exception) -> None:
        self.errors.append(error)

    def not_committed(self, owner: Owner, effects: Sequence[Effects]) -> None:
        for one in effects:
            self._crowd.give_back(owner.partition, one.crowd)


def owner_with(producer: FakeProducer, told: Told) -> Owner:
    where = Where("k:1", Topics(), "g")
    owner = Owner(where, Accounts(0), ScoresToRedis(None, Outage("Redis", lambda up: None), 0), told)
    owner._producer = producer  # as `open` does, without a broker
    return owner


def shared(crowd: Crowd, accounts: range) -> Crowd:
    for account in accounts:
        crowd.note(0, DEVICE, 7, account, NOW_US)
    return crowd


def batch(crowd: Crowd, next_offset: int) -> Effects:
    return Effects.of(next_offset, States({"a": b"1"}), Scores([]), CrowdCounts(crowd.take_changed(0)))


class FrozenProducer(FakeProducer):
    """Waits for ever for a broker that answers nothing, when it stops."""

    def __init__(self) -> None:
        super().__init__(fails_from=9)
        self.client = SimpleNamespace(_sync_task=None, _md_update_fut=None, _conns={}, close=self._close)
        self.is_closed = False

    async def stop(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def _close(self) -> None:
        self.is_closed = True


async def test_an_owner_whose_producer_waits_for_a_frozen_broker_is_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "FINISH_WITHIN_S", 0.01)
    producer = FrozenProducer()
    owner = owner_with(producer, Told(Crowd()))

    async with asyncio.timeout(20):
        await owner.close()

    assert producer.is_closed


def test_an_owner_knows_from_the_beginning_how_many_events_it_has_to_read() -> None:
    owner = owner_with(FakeProducer(fails_from=1), Told(Crowd()))

    owner._resume(Log("c/t", begin=40, end=1_000), partitions=4, requests=0)

    assert (owner.next, owner.behind) == (40, 960)


async def test_an_event_far_ahead_moves_the_partitions_event_time_to_now_at_most() -> None:
    owner = owner_with(FakeProducer(fails_from=9), Told(Crowd()))

    before_us = time.time_ns() // 1_000
    await owner.act(Effects.of(5, States({"a": b"1"}, (), LATEST_US - 1)), time.monotonic())
    await owner.close()

    assert before_us - 1_000 <= owner.chores.clock_us <= time.time_ns() // 1_000


async def test_a_refused_attempt_moves_the_partitions_event_time_though_not_that_of_the_accounts_score() -> None:
    crowd, events = Crowd(), []
    owner = owner_with(FakeProducer(fails_from=9), Told(crowd))
    folding = Folding(load_scorecard(None), crowd, b"salt", now_us=lambda: NOW_US)
    for offset, (day, decision) in enumerate([(10, "allow"), (23, "paused")]):
        body = (
            f'{{"type":"attempted","id":"e-{day}","at":"2024-11-{day}T10:00:00Z","account":{{"id":"a-1"}},'
            f'"upload_id":"u-{day}","media":{{"kind":"image","bytes":1}},"decision":"{decision}"}}'
        )
        events.append(Record(offset, b"a-1", body.encode(), (), NOW_US // 1_000))

    await folding.work(Fetch(cast(Partition, Deaf()), owner, events, 2))
    await owner.close()

    (state,) = owner.accounts.states.values()
    assert owner.chores.clock_us == latest_us(state)
    assert last_evidence_us(unpack(state)) == latest_us(state) - 13 * DAY_US


async def test_counts_of_a_transaction_that_failed_are_taken_again() -> None:
    crowd = shared(Crowd(), range(10))
    told = Told(crowd)
    owner = owner_with(FakeProducer(fails_from=1), told)

    await owner.act(batch(crowd, 5), time.monotonic())
    await eventually(lambda: told.errors)
    before = crowd.take_changed(0)
    await owner.close()

    assert before == []
    assert [count.count for count in crowd.take_changed(0)] == [10]


async def test_states_are_not_committed_to_a_changelog_that_ends_before_those_that_were_written() -> None:
    told = Told(Crowd())
    owner = owner_with(FakeProducer(fails_from=9), told)
    owner.accounts.position = 5

    await owner.act(batch(Crowd(), 5), time.monotonic())
    await eventually(lambda: told.errors or told.done)
    await owner.close()

    assert told.done == 0
    assert [type(error) for error in told.errors] == [Misplaced]


async def test_counts_that_were_committed_are_not_published_twice() -> None:
    crowd = shared(Crowd(), range(10))
    told = Told(crowd)
    owner = owner_with(FakeProducer(fails_from=2), told)

    await owner.act(batch(crowd, 5), time.monotonic())
    await owner.settle()
    await owner.close()

    assert told.done == 1
    assert owner.uncommitted == 0
    assert crowd.take_changed(0) == []


class Failing:
    """An owner whose act fails before anything of the batch is kept."""

    def __init__(self) -> None:
        self.accounts = Accounts(0)
        self.where = Where("k:1", Topics(), "g")
        self.partition, self.next, self.epoch, self.is_open, self.stamps = 0, 0, "c/t", True, None

    async def act(self, effects: Effects, handed_over: float) -> None:
        raise OSError("away")


class Deaf:
    """A partition that keeps its last event."""

    number = 0

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.last: Event | None = None

    def of_owner(self, owner: Owner, event: Event, error: Exception | None = None) -> None:
        self.last = event


async def test_counts_of_a_fetch_that_could_not_be_acted_on_are_taken_again() -> None:
    crowd = Crowd()
    folding = Folding(load_scorecard(None), crowd, b"salt", now_us=lambda: NOW_US)
    records: list[Record] = []
    for number in range(10):
        body = (
            f'{{"type":"attempted","id":"e-{number}","at":"2026-11-23T10:00:00Z","account":{{"id":"a-{number}"}},'
            f'"upload_id":"u-{number}","media":{{"kind":"image","bytes":1}},"device":"shared"}}'
        )
        records.append(Record(number, f"a-{number}".encode(), body.encode(), (), NOW_US // 1_000))
    partition = Deaf()

    await folding.work(Fetch(cast(Partition, partition), cast(Owner, Failing()), records, 10))

    assert partition.last is Event.FOLD_FAILED
    assert [count.count for count in crowd.take_changed(0)] == [10]


async def test_a_generation_that_began_for_scores_made_again_is_kept_with_the_watermark() -> None:
    told = Told(Crowd())
    owner = owner_with(FakeProducer(fails_from=9), told)
    owner.stamps.begin_generation(NOW_US)

    await owner.act(batch(Crowd(), 5), time.monotonic())
    await eventually(lambda: told.done)
    await owner.close()

    assert owner.accounts.mark is not None
    assert owner.accounts.mark.generation == NOW_US // 1_000
