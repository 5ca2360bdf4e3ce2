"""What a stored score says at the moment of a check: decayed, marked as made far behind, or passed over by a hot fact."""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgspec
import pytest

from gate.core.duration import DAY_US, HOUR_US
from gate.core.hot_facts import MetFact
from gate.core.limits.take import TakeResult
from gate.core.score import Score
from gate.records.score import with_bytes
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from tests.take_requests import NOW_US, AccountStore, WallClock, override, per_minute, score, take_request

LIMIT = per_minute("minute", 100)


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_store: RedisAccountStore) -> AccountStore:
    return MemoryAccountStore(WallClock()) if request.param == "memory" else redis_store


def decaying(risk: float, age_us: int, half_life_us: int = 6 * HOUR_US, *, acts: bool = True) -> Score:
    made = score(risk=risk, at_us=NOW_US - age_us)
    return msgspec.structs.replace(made, half_life_us=half_life_us, base=0.02, acts=acts)


async def take(store: AccountStore, upload: str, at: float = 0.7, *, hot: MetFact | None = None) -> TakeResult:
    return await store.take(msgspec.structs.replace(take_request(upload, LIMIT, at=at), hot=hot))


async def test_an_account_that_went_quiet_is_met_by_what_it_is_now(store: AccountStore) -> None:
    await store.put_scores([with_bytes(decaying(0.742, 0))])
    fresh = await take(store, "u1")
    await store.put_scores(
        [with_bytes(msgspec.structs.replace(decaying(0.742, 12 * HOUR_US), stamp=score(offset=2).stamp))]
    )

    quiet = await take(store, "u2")

    assert (fresh.charged, fresh.standing.risk) == (False, 0.742)
    assert quiet.charged
    assert quiet.standing.risk == pytest.approx(0.0657, abs=1e-4)
    assert quiet.standing.at_us == NOW_US - 12 * HOUR_US


async def test_refused_attempts_do_not_keep_a_score_up(store: AccountStore) -> None:
    """The account has tried every hour since; nothing new is known of it."""
    await store.put_scores([with_bytes(decaying(0.742, 0, DAY_US))])

    results = []
    for hour in range(12):
        request = take_request(f"u{hour}", LIMIT, at=0.7, now_us=NOW_US + hour * HOUR_US)
        results.append(await store.take(request))

    risks = [result.standing.risk for result in results if result.standing.risk is not None]
    assert risks == sorted(risks, reverse=True)
    assert (results[0].charged, results[-1].charged) == (False, True)


async def test_a_repeated_check_is_answered_with_the_risk_of_the_first(store: AccountStore) -> None:
    await store.put_scores([with_bytes(decaying(0.742, 12 * HOUR_US))])
    first = await take(store, "u")

    again = await store.take(take_request("u", LIMIT, at=0.7, now_us=NOW_US + 5 * 60_000_000))

    assert (again.charged, again.repeated) == (True, True)
    assert again.standing.risk == first.standing.risk
    assert again.standing.risk_now(again.now_us) == first.standing.risk


async def test_a_score_that_does_not_act_refuses_nothing(store: AccountStore) -> None:
    await store.put_scores([with_bytes(decaying(0.95, 0, acts=False))])

    result, again = await take(store, "u"), await take(store, "u")

    assert (result.charged, result.standing.risk, result.standing.acts) == (True, 0.95, False)
    assert (again.repeated, again.standing.risk, again.standing.acts) == (True, 0.95, False)


@pytest.mark.parametrize(
    ("known", "hot", "charged"),
    [
        (None, MetFact(0.7, "device:d", False), False),
        (None, MetFact(0.69, "device:d", False), True),
        (decaying(0.1, 0), MetFact(0.9, "device:d", False), True),
        (decaying(0.1, 0), MetFact(0.9, "device:d", True), False),
        (decaying(0.1, 2 * DAY_US), MetFact(0.9, "device:d", False), False),
        (decaying(0.95, 0, acts=False), MetFact(0.9, "device:d", True), False),
        (decaying(0.95, 0), MetFact(0.1, "device:d", True), False),
    ],
    ids=["unseen", "below", "scored", "young", "too old a score", "lagging", "own is worse"],
)
async def test_a_hot_fact_refuses_whom_it_speaks_of_and_takes_nothing(
    store: AccountStore, known: Score | None, hot: MetFact, charged: bool
) -> None:
    if known is not None:
        await store.put_scores([with_bytes(known)])

    result = await take(store, "u", hot=hot)

    assert result.charged is charged
    assert result.standing.hot == hot


async def test_an_override_that_allows_passes_over_a_hot_fact(store: AccountStore) -> None:
    await store.put_override("a", override(allow=True))

    result = await take(store, "u", hot=MetFact(0.9, "device:d", True))

    assert result.charged


async def test_an_upload_that_a_hot_fact_sends_to_review_is_sent_there_again(store: AccountStore) -> None:
    reviews = MetFact(0.6, "device:d", True)
    first = await take(store, "u", hot=reviews)

    again = await take(store, "u", hot=reviews)

    assert (first.repeated, again.repeated) == (False, True)
    assert again.charged
    assert first.standing.hot == again.standing.hot == reviews


async def test_an_upload_that_was_let_in_is_not_judged_by_a_fact_that_would_have_refused_it(
    store: AccountStore,
) -> None:
    """The account has no score at first, and one that speaks for it when the fact is met."""
    refuses_unscored = MetFact(0.9, "device:d", False)
    await take(store, "u")
    await store.put_scores([with_bytes(decaying(0.1, 0))])

    again = await take(store, "u", hot=refuses_unscored)

    assert (again.charged, again.repeated, again.standing.risk, again.standing.hot) == (True, True, None, None)


@pytest.mark.parametrize(
    "rest",
    [
        (17, float("nan"), 0.02, 1),
        (17, -1.0, 0.02, 1),
        (17, 1e300, 0.02, 1),
        (17, 1e9, float("nan"), 1),
        (17, 1e9, 0.0, 7),
        (12, 1 << 55, 20_000, 1),
        (12, 1 << 30, 1_000_001, 1),
        (12, 1 << 30, 0, 7),
    ],
    ids=[
        "half-life NaN",
        "half-life below 0",
        "half-life 1e300",
        "base NaN",
        "neither acts nor not",
        "short, half-life 2^55",
        "short, base above 1",
        "short, neither acts nor not",
    ],
)
async def test_a_decay_that_cannot_be_true_does_not_decay_and_is_counted(
    redis_store: RedisAccountStore, redis_url: str, unique: Callable[[], str], rest: tuple[float, ...]
) -> None:
    await redis_store.put_scores([with_bytes(decaying(0.95, HOUR_US))])
    line, key = Line(redis_url), f"{redis_store.prefix}score:{{a}}"
    value = await line.execute(b"GET", key, within_s=5.0)
    tag, half_life, base, acts = rest
    section = struct.pack("<BddB", *rest)
    if tag == 12:
        section = struct.pack("<B7sIB", 12, int(half_life).to_bytes(7, "little"), int(base), int(acts))
    damaged = value[:27] + section + value[40:]
    await line.execute(b"SET", key, damaged, within_s=5.0)
    await line.close()

    result = await take(redis_store, "u")

    assert (result.charged, result.standing.risk, redis_store.stats.unreadable) == (False, 0.95, 1)
