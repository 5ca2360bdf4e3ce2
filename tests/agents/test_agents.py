"""The agents without servers: order of effects, vetoes, positions, and scores that Redis lacks."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mode import Service

from gate.core.duration import DAY_US
from gate.core.score import Score, Stamp
from gate.errors import SettingInvalid, StoreUnavailable
from gate.ports.scores import EncodedScore, ScoreStore
from gate.records.score import with_bytes
from gate.settings import read_settings
from streams.core.crowd import WINDOW_US
from streams.pipeline.effects import CrowdCount, CrowdCounts, Effects, EventCounts, Scores, States, merged
from streams.worker import scores_to_redis
from streams.worker.agents import declare_agents
from streams.worker.app import App
from streams.worker.assignment import Partitions
from streams.worker.breaker import Breaker, BreakerVerdict
from streams.worker.changelog import (
    Accounts,
    Watermark,
    decode_watermark,
    encode_watermark,
)
from streams.worker.commit import Owner
from streams.worker.crowd_feed import crowd_key, hear
from streams.worker.outage import Outage
from streams.worker.scores_to_redis import ScoresToRedis
from streams.worker.settings import WorkerSettings, read_worker_settings
from tests.heard_counts import HeardCounts
from tests.waiting import eventually


class Bystander(Service):
    """Stands where the intake is in a worker."""


@asynccontextmanager
async def agents(tmp_path: Path, work: Any, concurrency: int) -> AsyncIterator[Any]:
    """The channel of a running app with our agents and nothing else."""
    app = App(
        "agents",
        broker="kafka://127.0.0.1:1",
        datadir=str(tmp_path),
        topic_disable_leader=True,
    )
    app.intake = cast(Any, Bystander())
    channel: Any = app.channel(maxsize=64)
    declare_agents(app, channel, work, concurrency)
    await app.start()
    app.flow_control.resume()
    try:
        yield channel
    finally:
        await app.stop()
        close_idle_loops()


def close_idle_loops() -> None:
    """Faust makes an event loop of its own beside the running one and never closes it."""
    for found in gc.get_objects():
        if isinstance(found, asyncio.BaseEventLoop) and not found.is_running() and not found.is_closed():
            found.close()


async def test_every_batch_is_worked_on_exactly_once_and_in_order(tmp_path: Path) -> None:
    done: list[int] = []

    async def work(numbers: Sequence[int]) -> None:
        done.extend(numbers)

    async with agents(tmp_path, work, concurrency=1) as channel:
        for number in range(100):
            await channel.put([number])
        await eventually(lambda: len(done) == 100)

    assert done == list(range(100))


async def test_a_slow_partition_holds_up_no_other(tmp_path: Path) -> None:
    gate = asyncio.Event()
    done: list[str] = []

    async def work(messages: Sequence[str]) -> None:
        if messages[0] == "slow":
            await gate.wait()
        done.extend(messages)

    async with agents(tmp_path, work, concurrency=2) as channel:
        await channel.put(["slow"])
        for number in range(20):
            await channel.put([f"quick {number}"])
        await eventually(lambda: len(done) == 20)
        gate.set()
        await eventually(lambda: len(done) == 21)

    assert done[-1] == "slow"


def score(account: str, offset: int) -> EncodedScore:
    return with_bytes(Score(account, 0.0, 0.0, 0.0, (), 0, 0, Stamp("e", offset), "card"))


class Store:
    """Takes scores, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.got: list[EncodedScore] = []

    async def put_scores(self, scores: Sequence[EncodedScore]) -> int:
        if self.away:
            raise StoreUnavailable("away")
        self.got += scores
        return len(scores)


def scores_to(store: Store) -> ScoresToRedis:
    scores = ScoresToRedis(cast(ScoreStore, store), Outage("Redis", lambda up: None), 0)
    scores.reopen(None, 100)
    return scores


async def test_scores_go_straight_to_redis_while_it_answers() -> None:
    store = Store()
    scores = scores_to(store)

    put = await scores.put([score("a", 1)])

    assert put
    assert scores.missing_from is None
    assert [s.account for s, _ in store.got] == ["a"]


async def test_an_answer_that_came_while_other_partitions_were_folded_is_not_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Answering(Store):
        async def put_scores(self, scores: Sequence[EncodedScore]) -> int:
            asyncio.get_running_loop().call_later(0.01, time.sleep, 0.4)  # another partition is folded
            await asyncio.sleep(0.02)
            return await super().put_scores(scores)

    monkeypatch.setattr(scores_to_redis, "PUT_WITHIN_S", 0.3)
    store = Answering()
    scores = scores_to(store)

    put = await scores.put([score("a", 1)])

    assert put
    assert [s.account for s, _ in store.got] == ["a"]
    assert scores.missing_from is None


async def test_marks_that_are_compared_while_other_partitions_are_folded_are_no_outage() -> None:
    class Answering(Store):
        async def mark_filled(self, marks: dict[str, tuple[str, str]]) -> dict[str, str]:
            asyncio.get_running_loop().call_later(0.01, time.sleep, 1.5)  # a partition is folded
            await asyncio.sleep(0.02)
            return dict.fromkeys(marks, "")

    told: list[bool] = []
    partitions = cast(Any, Partitions.__new__(Partitions))
    partitions._store, partitions._redis, partitions._all = Answering(), Outage("Redis", told.append), {}
    partitions.where = SimpleNamespace(topics=SimpleNamespace(scores=SimpleNamespace(name="scores")))

    await partitions.catch_up_redis()

    assert False not in told
    assert not partitions._redis.is_down


async def test_scores_that_are_not_answered_in_time_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen(Store):
        async def put_scores(self, scores: Sequence[EncodedScore]) -> int:
            await asyncio.Event().wait()
            return 0

    monkeypatch.setattr(scores_to_redis, "PUT_WITHIN_S", 0.05)
    scores = scores_to(Frozen())

    put = await scores.put([score("a", 1)])

    assert not put
    assert scores.missing_from == 100


async def test_redis_away_leaves_what_it_lacks_from_where_the_scores_topic_ended() -> None:
    store = Store()
    scores = scores_to(store)
    store.away = True

    first = await scores.put([score("a", 1)])
    store.away = False
    second = await scores.put([score("b", 2)])

    assert (first, second) == (False, False)
    assert store.got == []
    assert scores.missing_from == 100
    assert scores.missing == 2


async def test_without_redis_nothing_is_missing() -> None:
    scores = ScoresToRedis(None, Outage("Redis", lambda up: None), 0)
    scores.reopen(40, 100)

    assert await scores.put([score("a", 1)])
    assert scores.missing_from is None


def test_what_was_not_committed_is_taken_back_newest_first() -> None:
    accounts = Accounts(0)
    accounts.states = {"a": b"0"}
    accounts.fold({"a": b"1", "b": b"1"})
    accounts.fold({"a": b"2"})
    accounts.fold({"a": b"3", "c": b"3"})
    accounts.committed(1, Watermark("e", 10), 5)

    accounts.take_back()

    assert accounts.states == {"a": b"1", "b": b"1"}
    assert accounts.mark == Watermark("e", 10)


def test_a_watermark_reads_as_it_was_written() -> None:
    for mark in (
        Watermark("e", 0),
        Watermark("c/t+1", 1 << 40, 17),
        Watermark("e", 1, None, 1 << 40, "card/3", (4, 8), 2, 9),
    ):
        assert decode_watermark(encode_watermark(mark)) == mark


def test_of_merged_batches_the_last_word_on_an_account_counts() -> None:
    one = Effects.of(
        3,
        States({"a": b"1", "b": b"1"}),
        Scores([score("a", 1), score("b", 2)]),
        CrowdCounts([CrowdCount("f", 4)]),
        EventCounts({"completed": 2}, 1),
    )
    two = Effects.of(
        5,
        States({"a": b"2"}),
        Scores([score("a", 3)]),
        CrowdCounts([CrowdCount("f", 5)]),
        EventCounts({"completed": 1, "removed": 1}, 0),
    )

    both = merged([one, two])

    assert both.states == {"a": b"2", "b": b"1"}
    assert {s.account: s.stamp.offset for s, _ in both.scores} == {"a": 3, "b": 2}
    assert both.crowd == [CrowdCount("f", 5)]
    assert both.events == {"completed": 3, "removed": 1}
    assert (both.unknown_fields, both.next_offset) == (1, 5)


@pytest.mark.parametrize(
    ("batches", "verdict"),
    [
        ([(999, 999)], BreakerVerdict.READ),
        ([(1_000, 500)], BreakerVerdict.READ),
        ([(1_000, 501)], BreakerVerdict.QUARANTINE),
        ([(1_990, 0), (10, 10)], BreakerVerdict.READ),
        ([(500, 500), (499, 499), (1, 1)], BreakerVerdict.HALT),
        ([(3_000, 0), (1_000, 1_000), (1_000, 1_000)], BreakerVerdict.QUARANTINE),
        ([(3_000, 0), *[(1_000, 1_000)] * 12], BreakerVerdict.HALT),
    ],
)
def test_unreadable_events_stop_a_partition_once_practically_nothing_else_is_left(
    batches: list[tuple[int, int]], verdict: BreakerVerdict
) -> None:
    breaker = Breaker()
    offset = 0

    found = []
    for events, dead in batches:
        records = [SimpleNamespace(offset=offset + n) for n in range(events)]
        found.append(breaker.judge(records, records[:dead]))
        offset += events

    assert found[-1] is verdict


def test_crowd_records_are_heard_and_others_passed_over() -> None:
    heard = HeardCounts()

    assert hear(heard, crowd_key(3, "abc"), b"7")
    assert hear(heard, b"3:abc", None)
    for key, value in [(None, b"1"), (b"x:abc", b"1"), (b"3:", b"1"), (b"3:abc", b"-1"), (b"\xff:abc", b"1")]:
        assert not hear(heard, key, value)
    assert heard.counts == [(3, "abc", 7), (3, "abc", 0)]


def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[bool] = []
    now = [10.0]
    outage = Outage("Kafka", seen.append, lambda: now[0])

    for _ in range(70):
        outage.down("no answer")
    now[0] = 13.5
    for _ in range(70):
        outage.up()

    assert [r.getMessage() for r in caplog.records] == [
        "Kafka is away (no answer); work goes on when it is back",
        "Kafka is back after 3.5 s",
    ]
    assert seen == [True, False, True]


def test_a_long_outage_is_logged_again_with_what_to_look_at(caplog: pytest.LogCaptureFixture) -> None:
    now = [10.0]
    outage = Outage("Kafka", lambda up: None, lambda: now[0])

    for _ in range(130):
        outage.down("no answer")
        now[0] += 0.5

    assert [r.getMessage() for r in caplog.records][1:] == [
        f"Kafka is still away after {seconds} s (no answer); if it runs, compare its address with UPLOAD_GATE_KAFKA"
        for seconds in (30, 60)
    ]


def test_the_salt_never_prints() -> None:
    settings = read_worker_settings({"UPLOAD_GATE_KAFKA": "k:1", "UPLOAD_GATE_SALT": "hush"})

    assert settings.salt == b"hush"
    assert "hush" not in repr(settings)
    assert isinstance(settings, WorkerSettings)


def test_a_worker_without_a_salt_hashes_as_a_gate_without_one() -> None:
    bare = read_worker_settings({"UPLOAD_GATE_KAFKA": "k:1"})

    assert bare.salt_is_default
    assert bare.salt == read_settings({}).salt
    assert not read_worker_settings({"UPLOAD_GATE_KAFKA": "k:1", "UPLOAD_GATE_SALT": "hush"}).salt_is_default


def test_no_account_is_forgotten_that_still_counts_in_the_crowd() -> None:
    days = WINDOW_US // DAY_US

    shortest = read_worker_settings({"UPLOAD_GATE_KAFKA": "k:1", "UPLOAD_GATE_FORGET_AFTER": f"{days + 1}d"})
    with pytest.raises(SettingInvalid) as refused:
        read_worker_settings({"UPLOAD_GATE_KAFKA": "k:1", "UPLOAD_GATE_FORGET_AFTER": f"{days}d"})

    assert shortest.forget_after_us == WINDOW_US + DAY_US
    assert f"{days + 1}d or more" in str(refused.value.remedy)


def test_an_owner_is_not_open_before_it_is_opened() -> None:
    redis = ScoresToRedis(None, Outage("Redis", lambda up: None), 2)
    owner = Owner(cast(Any, None), Accounts(2), redis, cast(Any, None))

    assert not owner.is_open
    assert owner.partition == 2
