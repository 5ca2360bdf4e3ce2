"""Laws of the buckets: the script in Redis is the integer model, tokens move exactly when an upload is let in."""

import asyncio
import itertools
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.core.limits.gcra import GRACE_US, Refusal, take
from gate.core.limits.limit import (
    EntityBuckets,
    EntityLimits,
    Limit,
    Rate,
)
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.score import Score, Stamp
from gate.records.score import with_bytes
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis import bucket_layouts
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from gate.stores.redis.unrolled import Unrolled
from tests.take_requests import NoClock, one_limit

DAY_US = 86_400_000_000
START_US = time.time_ns() // 1000
RUN = itertools.count()

entities = st.sampled_from(["class:a", "class:b", "class:c", "platform"])
rates = st.builds(Rate, st.integers(1, 1_000), st.sampled_from([1_000_000, 60_000_000, DAY_US]), st.integers(1, 40))


sizes = st.integers(0, 3) | st.integers(30, 60)
limits = st.builds(Limit, st.sampled_from(["one", "two", "three"]), rates, st.booleans(), st.booleans())
with_reserves = st.builds(
    lambda rest, rate: (replace(rest, name=f"{rest.name} reserved", rate=rate, reserve_of=rest.name), rest),
    limits,
    rates,
)
entity_limits = st.lists(limits.map(lambda one: (one,)) | with_reserves, min_size=1, max_size=4).map(
    lambda found: EntityLimits(tuple(limit for some in found for limit in some))
)
entity_buckets = st.builds(EntityBuckets, entities, entity_limits)
class_limits = st.builds(
    ClassLimits,
    st.none() | entity_limits,
    st.none() | entity_limits,
    st.none() | entity_limits,
    st.lists(entity_buckets, max_size=3).map(tuple),
    st.none() | st.sampled_from([0.25, 0.75]),
    st.just(DAY_US),
    st.just(60_000_000),
)


@st.composite
def take_requests(draw: st.DrawFn) -> list[TakeRequest]:
    """A sequence of checks of few classes, whose clock mostly runs and sometimes steps back, as far as an hour."""
    known = draw(st.lists(class_limits, min_size=1, max_size=3))
    now_us = START_US
    found: list[TakeRequest] = []
    attempts = itertools.count()
    for _ in range(draw(st.integers(1, 25))):
        now_us += draw(st.integers(0, 2_000_000) | st.integers(-3_600_000_000, 3_600_000_000))
        found.append(
            TakeRequest(
                draw(st.sampled_from("ab")),
                draw(st.sampled_from("uvwxyz")),
                draw(st.sampled_from(known)),
                draw(st.sampled_from([None, "1", "2"])),
                draw(st.sampled_from([None, "1", "2"])),
                draw(sizes),
                now_us,
                kind=draw(st.sampled_from(["image", None])),
                attempt=next(attempts),
            )
        )
    return found


def in_model(sequence: list[TakeRequest], scores: list[Score]) -> list[TakeResult]:
    async def run() -> list[TakeResult]:
        store = MemoryAccountStore(NoClock())
        await store.put_scores([*map(with_bytes, scores)])
        return [await store.take(request) for request in sequence]

    return asyncio.run(run())


def test_the_script_agrees_with_the_model_to_the_microsecond(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = [Score("b", 0.5, 0.5, 0.5, (), START_US, START_US, Stamp("e", 1), "s")]

    async def in_redis(store: RedisAccountStore, sequence: list[TakeRequest], at_once: bool) -> list[TakeResult]:
        await store.put_scores([*map(with_bytes, scores)])
        if at_once:
            return list(await asyncio.gather(*map(store.take, sequence)))
        return [await store.take(request) for request in sequence]

    with asyncio.Runner() as runner:
        line = Line(redis_url)

        @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(take_requests(), st.booleans(), st.sampled_from((0, bucket_layouts.MOST_LOCALS)))
        def agrees(sequence: list[TakeRequest], at_once: bool, most_locals: int) -> None:
            monkeypatch.setattr(bucket_layouts, "MOST_LOCALS", most_locals)
            # one lane keeps the order, in which batches are decided as single calls would be
            store = RedisAccountStore(redis_url, prefix=f"laws-{next(RUN)}:", deadline_s=10.0, lanes=1, max_batch=7)
            runner.run(store.open())

            answers = runner.run(in_redis(store, sequence, at_once))

            runner.run(store.close())
            assert answers == in_model(sequence, scores)

        try:
            agrees()
        finally:
            runner.run(line.close())


def keys_of(request: TakeRequest) -> set[tuple[str, str]]:
    return {(each.entity, limit.name) for each in request.buckets for limit in each.limits.limits}


def least_cost_us(request: TakeRequest, entity: str, name: str) -> int:
    """The least cost of a limit of the request on that bucket."""
    return min(
        limit.cost_us(request.size)
        for each in request.buckets
        for limit in each.limits.limits
        if (each.entity, limit.name) == (entity, name)
    )


def in_two_parts(request: TakeRequest) -> set[tuple[str, str]]:
    """Buckets of limits of which a class has a part reserved: an upload takes from one of the two."""
    return {
        (each.entity, name)
        for each in request.buckets
        for limit in each.limits.limits
        if limit.reserve_of
        for name in (limit.name, limit.reserve_of)
    }


def believed_us(tat_us: int, request: TakeRequest, entity: str, name: str, now_us: int) -> int:
    """The TAT of that bucket as the request's limits, one after the other, correct it."""
    for each in request.buckets:
        for limit in each.limits.limits:
            highest_us = now_us + limit.rate.tolerance_us
            if (each.entity, limit.name) == (entity, name) and tat_us > highest_us + GRACE_US:
                tat_us = highest_us
    return tat_us


@given(take_requests())
def test_tokens_move_exactly_when_an_upload_is_newly_let_in(sequence: list[TakeRequest]) -> None:
    async def run() -> None:
        store = MemoryAccountStore(NoClock())
        waiting: dict[tuple[str, str], tuple[int, int]] = {}
        for request in sequence:
            before = {key: store.tat_us(*key) for key in keys_of(request) - in_two_parts(request)}
            result = await store.take(request)
            upload = (request.account, request.upload_id)
            since_us, until_us = waiting.get(upload, (0, 0))
            told_before = not result.charged and since_us <= result.now_us < until_us
            if result.refusal is not None and result.refusal.retry_after_us is not None and not told_before:
                waiting[upload] = (result.now_us, result.now_us + result.refusal.retry_after_us)
            for (entity, limit), was in before.items():
                became = store.tat_us(entity, limit)
                believed = believed_us(was, request, entity, limit, result.now_us)
                if result.repeated or result.conflict or told_before:
                    assert became == was
                elif not result.charged:
                    assert became == believed
                elif limit not in result.shadow:
                    assert became >= max(believed, result.now_us) + least_cost_us(request, entity, limit)

    asyncio.run(run())


def in_shadow(limits: EntityLimits) -> EntityLimits:
    return EntityLimits(tuple(replace(limit, shadow=True) for limit in limits.limits))


@given(st.lists(entity_buckets, max_size=5), sizes, st.lists(st.integers(0, 10_000_000), min_size=1, max_size=30))
def test_shadow_limits_cannot_refuse_whatever_they_hold(
    wanted: list[EntityBuckets], size: int, steps: list[int]
) -> None:
    shadows = tuple(EntityBuckets(c.entity, in_shadow(c.limits)) for c in wanted)
    tats: dict[tuple[str, str], int] = {}

    refusals = [take(tats, shadows, size, START_US + step)[0] for step in steps]

    assert refusals == [None] * len(steps)


@given(rates, st.lists(st.integers(0, 5_000_000), min_size=1, max_size=80), st.integers(1, 3))
def test_no_window_admits_more_than_burst_and_what_flows_in_meanwhile(rate: Rate, steps: list[int], units: int) -> None:
    tats: dict[tuple[str, str], int] = {}
    buckets = one_limit("e", "l", rate, by_bytes=True)
    now_us = START_US
    admitted: list[int] = []
    for step in steps:
        now_us += step
        if take(tats, (buckets,), units, now_us)[0] is None:
            admitted.append(now_us)

    for first, last in itertools.combinations(range(len(admitted)), 2):
        spent_us = (last - first + 1) * rate.cost_us(units)
        assert spent_us <= rate.tolerance_us + admitted[last] - admitted[first]


@given(rates, st.integers(1, 20))
def test_a_refusal_fits_exactly_when_it_said(rate: Rate, taken_before: int) -> None:
    tats: dict[tuple[str, str], int] = {}
    buckets = one_limit("e", "l", rate)
    refusal = None
    while refusal is None:
        refusal, _ = take(tats, (buckets,), 0, START_US)

    assert refusal.retry_after_us is not None
    assert take(dict(tats), (buckets,), 0, START_US + refusal.retry_after_us - 1)[0] is not None
    assert take(dict(tats), (buckets,), 0, START_US + refusal.retry_after_us)[0] is None


@given(rates, st.integers(1, 7))
def test_gates_on_their_own_let_in_no_more_together_than_the_limit(rate: Rate, instances: int) -> None:
    buckets = one_limit("e", "l", rate)
    gates = [LocalBuckets(instances) for _ in range(instances)]

    let_in = [sum(gate.take((buckets,), 0, START_US)[0] is None for _ in range(rate.burst + 1)) for gate in gates]

    assert sum(let_in) <= max(rate.tolerance_us // rate.cost_us(1), instances)
    assert all(count >= 1 for count in let_in)


own_limits = st.builds(
    lambda names, *rest: EntityLimits(
        tuple(Limit(name, *each) for name, each in zip(names, zip(*rest, strict=True), strict=True))
    ),
    st.permutations(["one", "two", "three"]),
    st.lists(
        st.builds(Rate, st.integers(0, 9), st.sampled_from([60_000_000, DAY_US]), st.integers(0, 6)),
        min_size=3,
        max_size=3,
    ),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)


@given(
    st.lists(own_limits, min_size=1, max_size=3),
    st.integers(1, 3),
    st.lists(st.tuples(sizes, st.integers(0, 2_000_000) | st.integers(-3_600_000_000, 3_600_000_000)), max_size=40),
)
def test_own_buckets_answer_as_the_model_does(
    known: list[EntityLimits], instances: int, uploads: list[tuple[int, int]]
) -> None:
    buckets = tuple(EntityBuckets(f"e{n}", each) for n, each in enumerate(known))
    own, tats, now_us = LocalBuckets(instances), dict[tuple[str, str], int](), START_US

    for size, step_us in uploads:
        now_us += step_us

        assert own.take(buckets, size, now_us) == take(tats, buckets, size, now_us, sharers=instances)


def test_own_buckets_keep_nothing_of_an_entity_from_which_nothing_is_taken() -> None:
    buckets, never = LocalBuckets(1), Rate(0, DAY_US, 0)
    flying = EntityLimits((Limit("open", Rate(1, DAY_US, 9), in_flight=True),))

    for n in range(100):
        assert buckets.take((EntityBuckets(f"e{n}", flying),), 0, START_US)[0] is None
        assert buckets.take((one_limit(f"f{n}", "l", never),), 0, START_US)[0] is not None

    assert (len(buckets), buckets._tats) == (0, {})


def test_own_buckets_keep_nothing_of_an_entity_first_met_by_a_refused_upload() -> None:
    buckets, full = LocalBuckets(1), one_limit("full", "l", Rate(1, DAY_US, 1))
    buckets.take((full,), 0, START_US)

    refused = [buckets.take((one_limit(f"e{n}", "l", Rate(9, DAY_US, 9)), full), 0, START_US)[0] for n in range(100)]

    assert refused == [Refusal("l", DAY_US)] * 100
    assert (len(buckets), list(buckets._tats)) == (1, ["full"])


def test_own_buckets_stay_within_their_size_and_forget_the_full_ones_first() -> None:
    buckets = LocalBuckets(1, max_buckets=100)
    long = one_limit("long", "l", Rate(1, DAY_US, 1))
    buckets.take((long,), 0, START_US)

    for i in range(1_000):
        buckets.take((one_limit(f"e{i}", "l", Rate(1, 1_000, 1)),), 0, START_US + i * 1_000)

    assert len(buckets) <= 100
    assert buckets.take((long,), 0, START_US + 1_000_000)[0] is not None


@pytest.mark.parametrize("shared", ["platform", "class:new"])
def test_own_buckets_of_many_accounts_give_no_tokens_back_to_what_they_share(shared: str) -> None:
    buckets, hour_us = LocalBuckets(1, max_buckets=100), 3_600_000_000
    together = one_limit(shared, "shared", Rate(150, hour_us, 150))

    let_in = [
        buckets.take((one_limit(f"account:{{a{n}}}", "own", Rate(10, hour_us, 10)), together), 0, START_US)[0] is None
        for n in range(2_000)
    ]

    assert sum(let_in) == 150
    assert len(buckets) <= 100


def test_own_buckets_of_dozens_of_classes_stay_within_their_size() -> None:
    buckets = LocalBuckets(1, max_buckets=100)

    for n in range(40):
        buckets.take((one_limit(f"class:{n}", "l", Rate(9, DAY_US, 9)),), 0, START_US)
    for n in range(2_000):
        buckets.take((one_limit(f"account:{{a{n}}}", "l", Rate(9, DAY_US, 9)),), 0, START_US)

    assert len(buckets) <= 100
    assert sum(name.startswith("class:") for name in buckets._tats) == 40


def test_own_buckets_of_many_accounts_give_no_tokens_back_to_a_device_that_has_none_left() -> None:
    buckets, hour_us = LocalBuckets(1, max_buckets=100), 3_600_000_000
    device = one_limit("device:2e", "device", Rate(5, hour_us, 5))
    while buckets.take((device,), 0, START_US)[0] is None:
        pass

    for n in range(2_000):
        buckets.take((one_limit(f"account:{{a{n}}}", "own", Rate(10, hour_us, 10)),), 0, START_US)

    assert buckets.take((device,), 0, START_US)[0] is not None


async def test_redis_compiles_the_script_of_a_class_with_twenty_limits_on_each_of_five_entities(redis_url: str) -> None:
    def twenty(subject: str) -> EntityLimits:
        return EntityLimits(tuple(Limit(f"{subject} {n}", Rate(3, 60_000_000, 3)) for n in range(20)))

    shared = tuple(EntityBuckets(entity, twenty(entity)) for entity in ("class:new", "platform"))
    script = Unrolled((ClassLimits(twenty("account"), twenty("ip"), twenty("device"), shared, None, 1, 1),)).script
    line = Line(redis_url)

    loaded = await line.execute(b"SCRIPT", b"LOAD", script.source, within_s=10.0)

    await line.close()
    assert loaded == script.sha
