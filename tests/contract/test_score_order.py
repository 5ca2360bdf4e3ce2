"""However scores arrive, from however many writers, the one with the latest stamp stays."""

from __future__ import annotations

import asyncio
import itertools
import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.core.score import Score, Stamp, replaces
from gate.records.score import decode_stored_score, encode_score, with_bytes
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from tests.take_requests import NOW_US, AccountStore, WallClock, score

NUMBERS = itertools.count()
EPOCHS = ("c/a", "c/b", "c/c")
few = st.integers(0, 3)
stamps = st.builds(
    lambda epoch, offset, partition, partitions, generation: Stamp(
        EPOCHS[epoch],
        offset,
        partition,
        partitions,
        10 * epoch + generation,  # an epoch's generations lie above those of the epoch before
    ),
    st.integers(0, 2), few, few, st.sampled_from([0, 4, 8]), st.integers(1, 4),
)  # fmt: skip


def scored(account: str, stamp: Stamp) -> Score:
    return Score(account, 0.0, 0.0, 0.5, (), NOW_US, NOW_US, stamp, "9f2c")


def latest(offered: list[Stamp]) -> Stamp:
    last = offered[0]
    for stamp in offered:
        if replaces(stamp, last):
            last = stamp
    return last


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_store: RedisAccountStore) -> AccountStore:
    return MemoryAccountStore(WallClock()) if request.param == "memory" else redis_store


@given(st.lists(stamps, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_latest_stamp_does_not_depend_on_the_order_of_arrival(offered: list[Stamp], seed: random.Random) -> None:
    shuffled = list(offered)
    seed.shuffle(shuffled)

    assert latest(shuffled) == latest(offered)
    assert not any(replaces(stamp, latest(offered)) for stamp in offered)


@given(offered=st.lists(stamps, min_size=2, max_size=8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_an_older_stamp_never_overwrites_a_newer_whatever_the_stamps(
    store: AccountStore, offered: list[Stamp]
) -> None:
    account = f"h{next(NUMBERS)}"
    kept = offered[0]

    for stamp in offered:
        await store.put_scores([with_bytes(scored(account, stamp))])
        (known,) = await store.scores([account])
        assert known is not None
        assert not replaces(kept, known.stamp)
        kept = known.stamp

    assert kept == latest(offered)


async def test_concurrent_writers_leave_the_latest_stamp_of_every_account(store: AccountStore) -> None:
    draw = random.Random(20)
    offered = {
        f"a{number}": [
            Stamp(EPOCHS[epoch], draw.randrange(4), draw.randrange(4), draw.choice([0, 4, 8]), 10 * epoch + 1 + gen)
            for epoch, gen in ((draw.randrange(3), draw.randrange(4)) for _ in range(6))
        ]
        for number in range(300)
    }
    writers = [[with_bytes(scored(account, of[n])) for account, of in offered.items()] for n in range(6)]

    stored = await asyncio.gather(*(store.put_scores(writer) for writer in writers))

    kept = await store.scores(list(offered))
    assert [one.stamp for one in kept if one is not None] == [latest(of) for of in offered.values()]
    assert 300 < sum(stored) < 6 * 300


async def test_both_stores_agree_with_the_order_on_every_pair(store: AccountStore) -> None:
    some = [
        Stamp(epoch, offset, partition, partitions, generation) if generation else Stamp(epoch, offset)
        for epoch, offset, partition, partitions in [("c/a", 1, 0, 4), ("c/a", 2, 0, 4), ("c/a", 1, 5, 8), ("c/b", 1, 0, 0)]
        for generation in (0, 1, 2)
    ]  # fmt: skip
    pairs = [(known, offered) for known in some for offered in some]
    await store.put_scores([with_bytes(scored(f"p{n}", known)) for n, (known, _) in enumerate(pairs)])

    await store.put_scores([with_bytes(scored(f"p{n}", offered)) for n, (_, offered) in enumerate(pairs)])

    kept = await store.scores([f"p{n}" for n in range(len(pairs))])
    expected = [offered if replaces(offered, known) else known for known, offered in pairs]
    assert [one.stamp for one in kept if one is not None] == expected


async def test_a_value_of_a_release_without_generations_is_read_and_replaced(
    redis_store: RedisAccountStore, line: Line
) -> None:
    document = encode_score(score(offset=50, risk=0.9, epoch="c/t"))
    old = struct.pack("<dddH", 0.9, NOW_US, 50, 3) + b"c/t" + document
    key = f"{redis_store.prefix}score:{{a}}"
    await line.execute(b"SET", key, old, b"PX", 60_000, within_s=5.0)

    (before,) = await redis_store.scores(["a"])
    stored = await redis_store.put_scores([with_bytes(scored("a", Stamp("c/t", 49, 1, 4, 7)))])

    value = await line.execute(b"GET", key, within_s=5.0)
    assert isinstance(value, bytes)
    assert before is not None
    assert before.stamp == Stamp("c/t", 50)
    assert stored == 1
    assert decode_stored_score(value).stamp == Stamp("c/t", 49, 1, 4, 7)


@pytest.mark.parametrize("generation", [float("nan"), float("inf"), -1.0, 2.0**53])
async def test_a_score_whose_stored_generation_cannot_be_one_is_replaced(
    generation: float, redis_store: RedisAccountStore, line: Line
) -> None:
    key = f"{redis_store.prefix}score:{{a}}"
    head = struct.pack("<dddH", 0.9, NOW_US, 50, 3) + b"c/t" + struct.pack("<BdII", 2, generation, 4, 1)
    await line.execute(b"SET", key, head + b"{}", b"PX", 60_000, within_s=5.0)

    stored = await redis_store.put_scores([with_bytes(scored("a", Stamp("c/t", 1, 1, 4, 7)))])

    assert stored == 1
