"""Scores that Redis lacks after an outage: what the scores topic says last of each account is what Redis has afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from gate.core.score import Score, Stamp
from gate.records.score import with_bytes
from gate.stores.memory.accounts import MemoryAccountStore
from streams.worker import scores_to_redis
from streams.worker.assignment import Partitions
from streams.worker.outage import Outage
from streams.worker.partition import State
from streams.worker.scores_to_redis import ScoresToRedis

NOW_US = 1_800_000_000_000_000
LONG_AGO_US = NOW_US - 200 * 86_400_000_000


class Clock:
    def now_us(self) -> int:
        return NOW_US


class Topic:
    """The scores topic, as one fetch after the other."""

    def __init__(self, fetches: Sequence[Sequence[Any]]) -> None:
        self._fetches = fetches
        self.end = sum(map(len, fetches))

    def __call__(self, bootstrap: str, topic: str, partition: int) -> Topic:
        return self

    async def __aenter__(self) -> Topic:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def since(self, offset: int) -> AsyncIterator[Sequence[Any]]:
        for records in self._fetches:
            yield records


def scored(account: str, offset: int, at_us: int = LONG_AGO_US) -> Any:
    data = with_bytes(Score(account, 0.1, 0.1, 0.2, (), at_us, at_us, Stamp("e", offset), "card")).data
    return SimpleNamespace(key=account.encode(), value=data, timestamp=at_us // 1_000)


def forgotten(account: str, at_us: int = NOW_US) -> Any:
    return SimpleNamespace(key=account.encode(), value=None, timestamp=at_us // 1_000)


@pytest.mark.parametrize(
    "fetches",
    [
        [[scored("gone", 1), scored("kept", 2), forgotten("gone"), scored("back", 3), forgotten("back"),
          scored("back", 4, NOW_US + 1_000_000)]],
        [[scored("gone", 1), scored("kept", 2), scored("back", 3)], [forgotten("gone"), forgotten("back")],
         [scored("back", 4, NOW_US + 1_000_000)]],
        [[scored("gone", 1), scored("back", 3), scored("kept", 2)],
         [forgotten("back"), scored("back", 4, NOW_US + 1_000_000), forgotten("gone")]],
    ],
    ids=["one fetch", "one after the other", "beside others"],
)  # fmt: skip
async def test_an_account_that_was_forgotten_during_an_outage_gets_no_score_back(
    monkeypatch: pytest.MonkeyPatch, fetches: list[list[Any]]
) -> None:
    topic, store = Topic(fetches), MemoryAccountStore(Clock())
    monkeypatch.setattr(scores_to_redis, "PartitionReader", topic)
    scores = ScoresToRedis(store, Outage("Redis", lambda up: None), 0)
    scores.reopen(0, topic.end)

    is_done = await scores.catch_up("127.0.0.1:1", "scores")

    gone, kept, back = await store.scores(["gone", "kept", "back"])
    assert is_done
    assert gone is None
    assert kept is not None
    assert back is not None
    assert back.stamp.offset == 4


@pytest.mark.parametrize("found", ["9" * 5_000, "9" * 20, "-5", "٣", "x"])
def test_a_mark_that_no_worker_writes_counts_as_one_of_an_empty_redis(found: str) -> None:
    redis = ScoresToRedis(MemoryAccountStore(Clock()), Outage("Redis", lambda up: None), 0)
    redis.reopen(None, 40)

    has_lost = redis.compare_mark(found, redis.mark(), 0)

    assert has_lost
    assert redis.missing_from == 0


def test_a_mark_at_the_end_of_the_scores_topic_says_that_redis_lacks_nothing() -> None:
    redis = ScoresToRedis(MemoryAccountStore(Clock()), Outage("Redis", lambda up: None), 0)
    redis.reopen(None, 40)

    assert not redis.compare_mark("40", redis.mark(), 0)
    assert redis.missing_from is None


@pytest.mark.parametrize("fetches", [[], [[scored("a", 1), scored("b", 2)]]], ids=["an aborted transaction", "scores"])
async def test_only_scores_that_an_earlier_owner_left_behind_its_mark_are_said_to_be_recovered(
    monkeypatch: pytest.MonkeyPatch, fetches: list[list[Any]]
) -> None:
    topic, store = Topic(fetches), MemoryAccountStore(Clock())
    topic.end = 15
    monkeypatch.setattr(scores_to_redis, "PartitionReader", topic)
    scores = ScoresToRedis(store, Outage("Redis", lambda up: None), 0)
    scores.reopen(None, 15)

    is_behind = scores.compare_mark("10", scores.mark(), 0)
    is_done = await scores.catch_up("127.0.0.1:1", "scores")

    assert is_behind
    assert is_done
    assert [scores.take_recovered() for _ in range(2)] == [sum(map(len, fetches)), 0]


async def test_what_an_emptied_redis_lacks_is_not_said_to_be_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    topic, store = Topic([[scored("a", 1)]]), MemoryAccountStore(Clock())
    monkeypatch.setattr(scores_to_redis, "PartitionReader", topic)
    scores = ScoresToRedis(store, Outage("Redis", lambda up: None), 0)
    scores.reopen(None, 1)

    assert not scores.compare_mark("1", scores.mark(), 0)
    assert scores.compare_mark("", scores.mark(), 0)
    assert await scores.catch_up("127.0.0.1:1", "scores")

    assert scores.take_recovered() == 0


async def test_owners_that_do_not_live_until_the_next_call_write_no_scores_again_and_say_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, redis = MemoryAccountStore(Clock()), Outage("Redis", lambda up: None)
    topics = SimpleNamespace(topics=SimpleNamespace(scores=SimpleNamespace(name="scores")), bootstrap="127.0.0.1:1")
    partitions: Any = Partitions.__new__(Partitions)
    partitions._store, partitions._redis, partitions.where = store, redis, topics
    read: list[int] = []

    class Behind(Topic):
        async def since(self, offset: int) -> AsyncIterator[Sequence[Any]]:
            read.append(offset)
            for record in [scored("a", 1), scored("b", 2)][offset:]:
                yield [record]

    caplog.set_level("INFO")
    for end in (2, 4, 6):  # behind the second record are the markers of transactions that were aborted
        topic = Behind([])
        topic.end = end
        monkeypatch.setattr(scores_to_redis, "PartitionReader", topic)
        scores = ScoresToRedis(store, redis, 0)
        scores.reopen(None, end)
        owner = SimpleNamespace(redis=scores, partition=0, uncommitted=0)
        partitions._all = {0: SimpleNamespace(owner=owner, state=State.LIVE)}
        await partitions.catch_up_redis()

    assert read == [0, 2, 4]
    assert [record.getMessage() for record in caplog.records] == [
        "Redis lacked scores of partitions [0] when they changed hands: 2 were written again"
    ]
