"""Laws of reservations: the script equals the model over long random lives, and a Retry-After is true."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from gate.core.hot_facts import MetFact
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate
from gate.core.limits.reservation import Report, Unanswered, UploadOutcome
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.override import Override
from gate.core.score import Score, Stamp
from gate.records.decision import retry_after_s
from gate.records.score import with_bytes
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from tests.take_requests import NoClock

START_US = time.time_ns() // 1000
CHECKS = 6_000
RUN = itertools.count()


def a_class(rng: random.Random, name: str) -> ClassLimits:
    """A class as a policy makes it, with some of the limits that all its policies know."""

    def some(*names: str) -> EntityLimits | None:
        chosen = [each for each in names if rng.random() < 0.7]
        found = []
        for each in chosen:
            by_bytes, in_flight = "bytes" in each, "flight" in each
            most, burst = rng.choice([1, 3, 30]), rng.choice([1, 4, 40, 400])
            if rng.random() < 0.05:
                most, burst = rng.choice([(0, burst), (most, 0), (0, 0)])
            rate = Rate(most, rng.choice([1_000_000, MINUTE_US, HOUR_US]), burst)
            found.append(Limit(each, rate, rng.random() < 0.2, by_bytes, in_flight))
        return EntityLimits(tuple(found)) if found else None

    shared = [(f"class:{name}", some("class.m", "class.bytes")), ("platform", some("platform.s", "platform.h"))]
    return ClassLimits(
        some("a.m", "a.h", "a.bytes", "a.flight"), some("i.m", "i.bytes", "i.flight"), some("d.h"),
        tuple(EntityBuckets(entity, limits) for entity, limits in shared if limits is not None),
        rng.choice([None, 0.7]), DAY_US, rng.choice([30_000_000, HOUR_US]), rng.random() < 0.5, name,
    )  # fmt: skip


def an_upload(rng: random.Random, key: tuple[str, str], limits: ClassLimits, now_us: int, attempt: int) -> TakeRequest:
    """A check of the account and upload in `key` with any content."""
    return TakeRequest(
        *key, limits,
        rng.choice([None, "1f", "2f"]), rng.choice([None, "1d"]), rng.choice([0, 1, 10, 300]), now_us,
        MetFact(0.8, "device:1d", rng.random() < 0.5) if rng.random() < 0.1 else None,
        limits.name, rng.choice(["image", "video"]), attempt, rng.random() < 0.1,
    )  # fmt: skip


def kinds(result: TakeResult) -> list[str]:
    """The names of what the answer is, for counting."""
    said = {
        "taken": result.charged and not result.repeated,
        "repeated": result.repeated,
        "sent again": result.resent,
        "refused": result.refusal is not None,
        "conflicts": result.conflict,
    }
    return ["checks", *(name for name, is_so in said.items() if is_so)]


async def live(
    model: MemoryAccountStore,
    store: RedisAccountStore,
    seed: int,
    attempts: itertools.count[int],
    make: Callable[[random.Random, str], ClassLimits] = a_class,
) -> Counter[str]:
    """One life: two policies alternate, clocks run and step back, uploads are repeated, changed, reported and expire.

    Returns how many checks it has made, and how many of each kind of answer it has met.

    An account has few uploads at once, because Redis repeats only the last refusals of an account, and the model all.
    """
    rng = random.Random(seed)
    policies = [[make(rng, name) for name in "xyz"] for _ in range(2)]
    now_us = START_US
    met: Counter[str] = Counter()
    lately: dict[tuple[str, str], TakeRequest] = {}
    for policy in policies:
        model.expect(policy)
        store.expect(policy)
    for step in range(20):
        policy = policies[rng.random() < (0.1 if step < 10 else 0.9)]
        now_us += rng.choice([0, 1_000, 1_000_000, 20_000_000, -1_000_000])
        if rng.random() < 0.1:
            now_us += rng.choice([HOUR_US, -HOUR_US])
        if rng.random() < 0.3:
            risk = round(rng.random(), 3)
            score = Score(f"a{rng.randrange(4)}", 0, 0, risk, (), now_us, now_us, Stamp("e", step), "s")
            scores = [with_bytes(score)]
            assert await model.put_scores(scores) == await store.put_scores(scores)
        if rng.random() < 0.2:
            account, kind = f"a{rng.randrange(4)}", rng.choice(["allow", "deny", "x", "y"])
            limits = kind if kind in "xy" else None
            override = Override(kind == "allow", "r", "ann", START_US + DAY_US, limits)
            await model.put_override(account, override)
            await store.put_override(account, override)
        requests = []
        for _ in range(rng.choice([1, 4, 12, 32])):
            now_us += rng.choice([0, 0, 1_000, 300_000])
            before = lately.get(key := (f"a{rng.randrange(4)}", f"u{rng.randrange(6)}"))
            again = rng.random() if before is not None else 1.0
            if before is not None and again < 0.5:
                attempt = before.attempt if again < 0.1 else next(attempts)
                limits = next(each for each in policy if each.name == before.class_limits.name)
                request = replace(before, class_limits=limits, now_us=now_us, attempt=attempt)
            else:
                request = an_upload(rng, key, rng.choice(policy), now_us, next(attempts))
            lately[key] = request
            requests.append(request)
        expected = await model.take_many(requests)
        assert await store.take_many(requests) == expected, (seed, step)
        met.update(kind for result in expected if isinstance(result, TakeResult) for kind in kinds(result))
        notices = [
            Report(request.account, request.upload_id, rng.choice(list(UploadOutcome)), rng.choice([None, 0, 7, 5_000]))
            if rng.random() < 0.7
            else Unanswered(request.account, request.upload_id, request.attempt)
            for request in rng.sample(requests, len(requests) // 3)
        ]
        assert await store.settle(notices, now_us) == await model.settle(notices, now_us), (seed, step)
        met["notices"] += len(notices)
        peeked = replace(rng.choice(requests), attempt=next(attempts), now_us=now_us)
        assert await store.peek(peeked) == await model.peek(peeked), (seed, step)
    return met


@pytest.mark.parametrize("first", range(3))
async def test_the_script_answers_as_the_model_through_tens_of_thousands_of_checks(redis_url: str, first: int) -> None:
    attempts = itertools.count(1)
    met: Counter[str] = Counter()
    for life in itertools.count():
        model = MemoryAccountStore(NoClock())
        store = RedisAccountStore(redis_url, prefix=f"lives-{next(RUN)}-{first}:", deadline_s=20.0, lanes=1)
        await store.open()
        met += await live(model, store, 1_000 * first + life, attempts)
        await store.close()
        if met["checks"] >= CHECKS:
            break

    assert met["notices"] > CHECKS // 5
    assert min(met["taken"], met["repeated"], met["refused"], met["conflicts"]) > CHECKS // 30
    assert met["sent again"] > CHECKS // 300


rates = st.builds(Rate, st.integers(1, 50), st.sampled_from([1_000_000, MINUTE_US, HOUR_US]), st.integers(1, 5))
limit_sets = st.lists(
    st.builds(Limit, st.sampled_from(["one", "two", "three"]), rates, st.just(False), st.booleans(), st.booleans()),
    min_size=1, max_size=3, unique_by=lambda limit: limit.name,
)  # fmt: skip


@given(limit_sets, st.integers(0, 4), st.integers(1, 40))
def test_a_retry_after_is_at_least_a_second_and_one_retry_then_passes(
    limits: list[Limit], size: int, uploads: int
) -> None:
    of = ClassLimits(EntityLimits(tuple(limits)), None, None, (), None, DAY_US, HOUR_US)

    async def refused_once() -> None:
        store = MemoryAccountStore(NoClock())
        for n in range(uploads):
            request = TakeRequest("a", f"u{n}", of, size=size, now_us=START_US, attempt=n)
            result = await store.take(request)
            if result.refusal is None or result.refusal.retry_after_us is None:
                continue
            seconds = retry_after_s(result.refusal.retry_after_us)
            again = await store.take(replace(request, now_us=START_US + seconds * 1_000_000, attempt=1_000))
            assert seconds >= 1
            assert again.charged
            return

    asyncio.run(refused_once())
