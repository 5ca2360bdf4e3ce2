"""The fetches that the intake hands over while partitions are assigned and revoked, over a consumer of the test."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, IllegalStateError, KafkaError, TopicAuthorizationFailedError
from prometheus_client import CollectorRegistry

from gate.errors import ForeignCluster
from gate.records.topics import Topics
from streams.worker import intake as reading
from streams.worker import partition as life
from streams.worker.agents import Fetch
from streams.worker.assignment import Partitions
from streams.worker.changelog import Accounts, Watermark
from streams.worker.chores import Chores
from streams.worker.commit import Hooks, Owner, Where
from streams.worker.continuity import LogChange, Resumption
from streams.worker.intake import Intake
from streams.worker.metrics import WorkerMetrics
from streams.worker.one_cluster import OneCluster
from streams.worker.outage import FADES_AFTER_S, Outage
from streams.worker.partition import Event, State
from streams.worker.timers import lags
from tests.waiting import eventually

AT = TopicPartition("uploads.events.v1", 0)


class FakeOwner:
    """An owner that opens at once, where the partition stands."""

    def __init__(self, accounts: Accounts, next_offset: int) -> None:
        self.accounts = accounts
        self.partition = accounts.partition
        self.epoch = "c/t"
        self.next = next_offset
        self.behind = 0
        self.committed_to = next_offset
        self.redis = SimpleNamespace(missing=0, missing_from=None)
        self.chores = Chores()
        self.resumed = Resumption(LogChange.NONE, "c/t", next_offset)
        self.is_over = False

    async def open(self) -> int:
        return 0

    async def settle(self) -> None:
        pass

    def give_up(self) -> None:
        self.is_over = True

    async def let_go(self) -> None:
        self.give_up()

    async def close(self) -> None:
        self.give_up()


class FakePartitions(Partitions):
    """Partitions whose owners need no servers; `stands_at` is where each stands when it is opened."""

    stands_at = 100

    def new_owner(self, accounts: Accounts, hooks: Hooks) -> Owner:
        return cast(Owner, FakeOwner(accounts, self.stands_at))


class FakeConsumer:
    """A topic of 1,000 records and a position a partition. `during` runs once while the next `getmany` is in flight."""

    def __init__(self) -> None:
        self.positions: dict[TopicPartition, int] = {}
        self.during: Callable[[], Any] | None = None
        self.refuses: Exception | None = None
        self.end = 1_000
        self.most = 50
        self.markers = 0
        self.groups: dict[TopicPartition, int] = {}

    def give(self, *partitions: TopicPartition) -> None:
        self.positions = dict.fromkeys(partitions, 0)

    def seek(self, at: TopicPartition, offset: int) -> None:
        if at not in self.positions:
            raise IllegalStateError("not assigned")
        self.positions[at] = offset

    def resume(self, at: TopicPartition) -> None:
        pass

    def pause(self, *at: TopicPartition) -> None:
        pass

    def highwater(self, at: TopicPartition) -> int:
        return self.end

    async def position(self, at: TopicPartition) -> int:
        if at not in self.positions:
            raise IllegalStateError("not assigned")
        return self.positions[at]

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int, max_records: int) -> dict[Any, list[Any]]:
        if self.refuses is not None:
            raise self.refuses
        if self.during is not None:
            during, self.during = self.during, None
            await during()
        found: dict[Any, list[Any]] = {}
        for at in partitions:
            room = max_records - sum(map(len, found.values()))
            if room and at in self.positions and self.positions[at] < self.end:
                start = self.positions[at]
                end = min(start + self.most, start + room, self.end)
                found[at] = [
                    ConsumerRecord(at.topic, at.partition, one, 0, 0, None, b"", None, -1, 0, ())
                    for one in range(start, end)
                ]
                self.positions[at] = end + self.markers
        return found

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.end)

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 40)

    async def committed(self, at: TopicPartition) -> int | None:
        return self.groups.get(at)


class Setting:
    """An intake over a fake consumer, what it handed over, and the group's decisions."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        metrics = WorkerMetrics(self.registry)
        self.kafka = Outage("Kafka", lambda up: None)
        where = Where("k:1", Topics(), "g")
        self.partitions = FakePartitions(where, None, metrics, self.kafka, Outage("Redis", lambda up: None))
        self.metrics = metrics
        self.handed: list[Fetch] = []
        self.consumer = FakeConsumer()
        rebalance = cast(Any, SimpleNamespace(begin=lambda: None, end=lambda: None))
        self.cluster_at_address = "c-1"
        cluster = OneCluster("k:1", self._cluster_id)
        self.intake = Intake(
            self.partitions, cast(Any, None), self.kafka, rebalance, self._take, lambda: None, 6_000, cluster
        )
        self.intake.consumer = self.consumer
        self.group = self.intake.assignments()

    async def _cluster_id(self, bootstrap: str) -> str:
        return self.cluster_at_address

    async def _take(self, fetch: Fetch) -> None:
        self.handed.append(fetch)

    async def assign(self, *numbers: int) -> None:
        """The group takes everything away and gives these."""
        await self.group.on_partitions_revoked(set())
        at = {TopicPartition(AT.topic, number) for number in numbers}
        self.consumer.give(*at)
        await self.group.on_partitions_assigned(at)
        await self.live()

    async def live(self) -> None:
        await eventually(lambda: all(p.state is State.LIVE for p in self.partitions.mine))

    def fold(self, fetch: Fetch) -> None:
        """As the agents do."""
        fetch.owner.next = fetch.end
        fetch.partition.of_owner(fetch.owner, Event.FOLDED)

    def lag_of(self, number: int) -> float | None:
        return self.registry.get_sample_value("upload_gate_worker_lag_records", {"partition": str(number)})

    def misplaced(self) -> float | None:
        return self.registry.get_sample_value("upload_gate_batch_failures_total", {"kind": "misplaced"})


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "TRY_AGAIN_S", 0.0)
    monkeypatch.setattr(reading, "PACE_S", 0.0)


@pytest.fixture
async def setting() -> Setting:
    return Setting()


async def fail(error: Exception) -> None:
    raise error


def offsets(fetch: Fetch) -> tuple[int, int]:
    return fetch.records[0].offset, fetch.records[-1].offset


async def test_fetches_follow_each_other_without_a_gap(setting: Setting) -> None:
    await setting.assign(0)

    for _ in range(3):
        await setting.intake.feed()
        setting.fold(setting.handed[-1])

    assert [offsets(fetch) for fetch in setting.handed] == [(100, 149), (150, 199), (200, 249)]


async def test_one_partition_with_much_at_hand_does_not_cut_the_batches_of_others_short(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_RECORDS", 50)
    await setting.assign(0, 1, 2)

    await setting.intake.feed()

    assert [(fetch.partition.number, *offsets(fetch)) for fetch in setting.handed] == [
        (number, 100, 149) for number in range(3)
    ]


@pytest.mark.parametrize("error", [IllegalStateError("moving"), KafkaError("away")])
async def test_what_is_at_hand_of_one_partition_is_kept_when_that_of_the_next_cannot_be_had(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(reading, "BATCH_RECORDS", 50)
    await setting.assign(0, 1)

    async def fails_afterwards() -> None:
        setting.consumer.during = lambda: fail(error)

    setting.consumer.during = fails_afterwards
    await setting.intake.feed()

    assert [(fetch.partition.number, *offsets(fetch)) for fetch in setting.handed] == [(0, 100, 149)]


async def test_a_fetch_says_how_far_behind_the_end_of_the_topic_it_is(setting: Setting) -> None:
    await setting.assign(0)

    await setting.intake.feed()

    assert setting.handed[0].behind == 850


async def test_a_partition_that_has_nothing_more_to_read_is_no_longer_behind(setting: Setting) -> None:
    await setting.assign(0)
    setting.partitions[0].behind = 60_000
    setting.consumer.positions[AT] = setting.partitions[0].owner.next = setting.consumer.end  # type: ignore[union-attr]

    await setting.intake.feed()

    assert setting.handed == []
    assert setting.partitions[0].behind == 0


async def test_a_partition_whose_end_is_not_known_yet_is_as_far_behind_as_when_it_opened(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    await setting.assign(0)
    setting.partitions[0].behind = 60_000
    setting.consumer.most = 0
    monkeypatch.setattr(setting.consumer, "highwater", lambda at: None)

    await setting.intake.feed()

    assert setting.partitions[0].behind == 60_000


async def test_no_second_fetch_is_requested_while_one_is_in_hand(setting: Setting) -> None:
    await setting.assign(0)
    await setting.intake.feed()

    setting.partitions.wake.set()
    await setting.intake.feed()

    assert len(setting.handed) == 1


async def test_a_reassignment_while_a_fetch_is_in_flight_leaves_no_hole(setting: Setting) -> None:
    await setting.assign(0)
    setting.consumer.during = lambda: setting.assign(0)

    await setting.intake.feed()
    assert setting.handed == []  # requested for the owner of before
    await setting.intake.feed()

    assert [offsets(fetch) for fetch in setting.handed] == [(100, 149)]
    assert setting.handed[0].owner is setting.partitions[0].owner
    assert setting.misplaced() == 0


async def test_a_partition_that_opens_again_while_a_fetch_is_in_flight_loses_nothing(setting: Setting) -> None:
    await setting.assign(0)

    async def commit_fails() -> None:
        partition = setting.partitions[0]
        assert partition.owner is not None
        partition.commit_failed(partition.owner, OSError("away"))
        await setting.live()

    setting.consumer.during = commit_fails
    await setting.intake.feed()
    await setting.intake.feed()

    assert [offsets(fetch) for fetch in setting.handed] == [(100, 149)]


async def test_a_hole_ends_the_partition_aloud_and_it_opens_again(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    await setting.assign(0)
    setting.consumer.positions[AT] = 150  # as after a reset that nobody asked for

    with caplog.at_level(logging.WARNING):
        await setting.intake.feed()
    await setting.live()
    await setting.intake.feed()

    assert "the consumer is at offset 150, and 100 is next" in caplog.text
    assert setting.misplaced() == 1
    assert [offsets(fetch) for fetch in setting.handed] == [(100, 149)]


async def test_transaction_markers_are_no_hole(setting: Setting) -> None:
    setting.consumer.markers = 1
    await setting.assign(0)

    for _ in range(2):
        await setting.intake.feed()
        setting.fold(setting.handed[-1])

    assert [(offsets(fetch), fetch.end) for fetch in setting.handed] == [((100, 149), 151), ((151, 200), 202)]
    assert setting.misplaced() == 0


async def test_markers_without_records_move_the_owner_on(setting: Setting) -> None:
    await setting.assign(0)
    setting.consumer.end = 100

    async def passes_over_markers() -> None:
        setting.consumer.positions[AT] = 103

    setting.consumer.during = passes_over_markers
    await setting.intake.feed()
    setting.consumer.end = 1_000
    await setting.intake.feed()

    assert [offsets(fetch) for fetch in setting.handed] == [(103, 152)]


async def test_a_partition_taken_away_in_flight_hands_over_nothing_and_the_others_go_on(setting: Setting) -> None:
    await setting.assign(0, 1)
    setting.consumer.during = lambda: setting.assign(1)

    await setting.intake.feed()
    await setting.intake.feed()

    assert [fetch.partition.number for fetch in setting.handed] == [1]
    assert [offsets(fetch) for fetch in setting.handed] == [(100, 149)]


async def test_lag_counts_halted_and_opening_partitions_from_what_is_committed(setting: Setting) -> None:
    await setting.assign(0, 1, 2)
    halted, opening, fresh = (setting.partitions[number] for number in range(3))
    halted.on(Event.FETCH)
    halted.on(Event.UNREADABLE_HALT, ValueError("junk"))
    opening.owner, opening.state = None, State.OPENING
    opening.accounts.mark = Watermark("c/t", 300)
    fresh.owner, fresh.state = None, State.OPENING

    unknown = await lags(setting.consumer, AT.topic, setting.partitions.mine)
    setting.consumer.groups[TopicPartition(AT.topic, 2)] = 990
    known = await lags(setting.consumer, AT.topic, setting.partitions.mine)

    assert unknown == {0: 900, 1: 700, 2: 960}
    assert known[2] == 10


async def test_lost_partitions_have_no_lag_any_more_and_none_is_exported_as_zero(setting: Setting) -> None:
    await setting.assign(0, 1)
    for number in (0, 1):
        setting.metrics.lag.labels(str(number)).set(7)

    await setting.partitions.revoke()

    assert [setting.lag_of(number) for number in (0, 1)] == [None, None]
    assert setting.registry.get_sample_value("upload_gate_worker_partitions") == 0


async def test_a_refusal_of_kafka_is_logged_once_with_its_remedy(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        setting.kafka.failed(TopicAuthorizationFailedError("uploads.events.v1"))

    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("Kafka refuses (authorization: ")
    assert "--operation Read --topic uploads.events.v1" in said


async def test_a_missing_topic_is_logged_only_if_it_stays_missing(caplog: pytest.LogCaptureFixture) -> None:
    from aiokafka.errors import UnknownTopicOrPartitionError

    now = [0.0]
    kafka = Outage("Kafka", lambda up: None, lambda: now[0])

    kafka.failed(UnknownTopicOrPartitionError())
    assert not caplog.records
    now[0] = 6.0
    kafka.failed(UnknownTopicOrPartitionError())

    assert "missing topic" in caplog.text
    assert "Create the topic" in caplog.text


async def test_a_refusal_is_over_once_it_has_not_come_for_a_while_whatever_else_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now, told = [0.0], list[bool]()
    kafka = Outage("Kafka", told.append, lambda: now[0])

    kafka.failed(TopicAuthorizationFailedError("crowd.counts.v1"))
    kafka.up()
    now[0] = FADES_AFTER_S - 1.0
    kafka.failed(TopicAuthorizationFailedError("crowd.counts.v1"))
    now[0] = FADES_AFTER_S
    kafka.look()
    assert told == [True, False]
    now[0] = 2 * FADES_AFTER_S
    kafka.look()

    assert told == [True, False, True]
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        "Kafka refuses",
        "Kafka no longer refuses",
    ]


async def test_a_refusal_of_the_group_is_met_while_no_partition_is_here(setting: Setting) -> None:
    setting.consumer.refuses = GroupAuthorizationFailedError("g")

    with pytest.raises(GroupAuthorizationFailedError):
        await setting.intake.feed()


async def test_a_crash_of_the_intake_ends_it_with_its_cause(setting: Setting) -> None:
    error = ValueError("a fault of ours")

    setting.intake.end(error)
    await asyncio.sleep(0)

    assert setting.intake.crashed
    assert setting.intake.crash_reason is error


async def test_a_partition_that_is_given_twice_ends_the_worker(setting: Setting) -> None:
    await setting.assign(0)

    await setting.group.on_partitions_assigned({AT})
    await asyncio.sleep(0)

    assert setting.intake.crashed


async def test_a_worker_that_is_stopping_takes_no_partitions_any_more(setting: Setting) -> None:
    await setting.assign(0)

    stopping = asyncio.create_task(setting.partitions.stop())
    await asyncio.sleep(0)
    await setting.group.on_partitions_assigned({AT})
    await stopping

    assert setting.partitions.mine == []
    assert not setting.intake.crashed


async def test_a_worker_takes_no_partition_of_another_cluster_at_its_address_and_ends_with_a_remedy(
    setting: Setting,
) -> None:
    await setting.assign(0)
    setting.cluster_at_address = "c-2"

    await setting.group.on_partitions_revoked({AT})
    await setting.group.on_partitions_assigned({AT, TopicPartition(AT.topic, 1)})
    await asyncio.sleep(0)

    assert setting.intake.crashed
    assert isinstance(setting.intake.crash_reason, ForeignCluster)
    assert "k:1: it was c-1 and is c-2 now" in str(setting.intake.crash_reason)
    assert [partition.number for partition in setting.partitions.mine] == [0]


async def test_a_cluster_that_does_not_tell_its_id_proves_nothing(setting: Setting) -> None:
    await setting.assign(0)
    setting.cluster_at_address = ""

    await setting.assign(0, 1)

    assert not setting.intake.crashed
    assert [partition.number for partition in setting.partitions.mine] == [0, 1]
