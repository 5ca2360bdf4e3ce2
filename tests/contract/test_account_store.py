"""What takes, scores and overrides promise, over the one in memory and the one in Redis."""

import asyncio

import pytest
from msgspec.structs import replace

from gate.core.limits.limit import Rate
from gate.core.limits.take import TakeResult
from gate.core.score import Score, Stamp, risk_at
from gate.records.score import with_bytes
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.scores import RedisScoreStore
from tests.take_requests import (
    DAY_US,
    MINUTE_US,
    NOW_US,
    AccountStore,
    WallClock,
    admitted,
    one_limit,
    override,
    per_minute,
    score,
    take_request,
)


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_store: RedisAccountStore) -> AccountStore:
    return MemoryAccountStore(WallClock()) if request.param == "memory" else redis_store


@pytest.mark.parametrize("limit", [1, 5, 32, 33, 99])
async def test_exactly_as_many_as_the_limit_are_let_in_of_100_at_once(store: AccountStore, limit: int) -> None:
    assert await admitted(store, 100, per_minute("minute", limit)) == limit


async def test_a_store_that_was_never_told_of_an_account_knows_nothing_and_lets_in(store: AccountStore) -> None:
    result = await store.take(take_request("u", per_minute("minute", 1)))

    assert (result.standing.risk, result.standing.at_us, result.standing.override) == (None, None, None)
    assert (result.charged, result.repeated, result.refusal, result.shadow) == (True, False, None, ())
    assert result.now_us == NOW_US


async def test_a_check_without_any_limit_is_let_in(store: AccountStore) -> None:
    assert (await store.take(take_request("u"))).charged


async def test_without_a_recorded_time_the_stores_own_clock_judges(store: AccountStore) -> None:
    result = await store.take(take_request("u", per_minute("minute", 1), now_us=None))

    assert abs(result.now_us - WallClock().now_us()) < MINUTE_US


async def test_a_refusal_names_the_limit_that_must_be_waited_for_longest_and_charges_nobody(
    store: AccountStore,
) -> None:
    roomy, tight = per_minute("roomy", 10), per_minute("tight", 2, "ip:1")
    for i in range(2):
        await store.take(take_request(f"u{i}", roomy, tight))

    refused = await store.take(take_request("u2", roomy, tight))

    assert refused.refusal is not None
    assert (refused.refusal.limit, refused.refusal.retry_after_us) == ("tight", MINUTE_US // 2)
    assert not refused.charged
    assert await admitted(store, 20, roomy) == 8


async def test_what_exceeds_the_burst_is_never_let_in_and_says_so(store: AccountStore) -> None:
    result = await store.take(take_request("u", per_minute("bytes", 100, by_bytes=True), size=101))

    assert result.refusal is not None
    assert (result.refusal.limit, result.refusal.retry_after_us) == ("bytes", None)
    assert not result.charged


async def test_a_shadow_limit_counts_and_is_named_but_cannot_refuse(store: AccountStore) -> None:
    shadow = per_minute("tried", 2, shadow=True)

    results = [await store.take(take_request(f"u{i}", shadow)) for i in range(4)]

    assert [t.charged for t in results] == [True] * 4
    assert [t.shadow for t in results] == [(), (), ("tried",), ("tried",)]


async def test_limits_of_one_entity_can_be_reordered_added_and_removed(store: AccountStore) -> None:
    one, two, three = per_minute("one", 3), per_minute("two", 4), per_minute("three", 5)
    await store.take(take_request("u0", one, two))
    await store.take(take_request("u1", two, three))
    await store.take(take_request("u2", three))

    left = [await admitted(store, 10, limit) for limit in (three, one, two)]

    assert left == [3, 2, 2]


async def test_one_batch_with_a_shared_bucket_and_own_ones_counts_each_exactly(store: AccountStore) -> None:
    requests = [
        take_request(
            f"u{i}",
            per_minute("own", 2, f"account:{{b{i % 10}}}"),
            per_minute("all", 15, "platform"),
            account=f"b{i % 10}",
        )
        for i in range(50)
    ]

    results = await asyncio.gather(*map(store.take, requests))

    assert sum(t.charged for t in results) == 15
    assert await admitted(store, 50, per_minute("all", 15, "platform")) == 0


async def test_the_same_upload_spends_once_and_gets_the_same_answer(store: AccountStore) -> None:
    limit, shadow = per_minute("minute", 2), per_minute("tried", 1, shadow=True)
    await store.put_scores([*map(with_bytes, [score(risk=0.5)])])
    await store.take(take_request("u0", limit, shadow))
    first = await store.take(take_request("u1", limit, shadow))
    await store.put_scores([*map(with_bytes, [score(risk=0.6, offset=2)])])

    again = await asyncio.gather(*(store.take(take_request("u1", limit, shadow, now_us=NOW_US + 5)) for _ in range(40)))

    assert first.charged
    assert not first.repeated
    assert {(t.charged, t.repeated, t.refusal) for t in again} == {(True, True, None)}
    assert {(t.shadow, t.standing.risk, t.now_us) for t in again} == {(("tried",), 0.5, NOW_US)}


async def test_forty_callers_of_one_new_upload_spend_once(store: AccountStore) -> None:
    limit = per_minute("minute", 10)

    results = await asyncio.gather(*(store.take(take_request("u", limit)) for _ in range(40)))

    assert all(t.charged for t in results)
    assert sum(not t.repeated for t in results) == 1
    assert await admitted(store, 20, limit) == 9


async def test_an_upload_is_forgotten_after_its_lifetime(store: AccountStore) -> None:
    limit = per_minute("minute", 100)
    await store.take(take_request("u", limit))

    before = await store.take(take_request("u", limit, now_us=NOW_US + 10 * MINUTE_US - 1))
    after = await store.take(take_request("u", limit, now_us=NOW_US + 10 * MINUTE_US))

    assert (before.repeated, after.repeated) == (True, False)


async def test_an_upload_that_was_refused_is_judged_anew(store: AccountStore) -> None:
    limit = per_minute("minute", 1)
    await store.take(take_request("u0", limit))
    refused = await store.take(take_request("u1", limit))

    later = await store.take(take_request("u1", limit, now_us=NOW_US + MINUTE_US))

    assert not refused.charged
    assert (later.charged, later.repeated) == (True, False)


async def test_upload_ids_belong_to_their_account_whatever_the_ids_contain(store: AccountStore) -> None:
    pairs = [("a", "u"), ("b", "u"), ("a}:b", "c"), ("a", "b}:c"), ("a", "1:x}:6:c"), ("a}:1:x", "c")]

    results = [await store.take(take_request(upload, account=account)) for account, upload in pairs]

    assert [t.repeated for t in results] == [False] * len(pairs)


async def test_a_score_from_the_threshold_on_refuses_and_moves_no_token(store: AccountStore) -> None:
    limit = per_minute("minute", 5)
    await store.put_scores([*map(with_bytes, [score(risk=0.9), score("b", risk=0.899999)])])

    result = await store.take(take_request("u", limit, per_minute("tried", 1, shadow=True)))

    assert (result.charged, result.refusal, result.shadow, result.standing.risk) == (False, None, (), 0.9)
    assert await admitted(store, 10, limit, account="b") == 5


async def test_a_score_that_is_too_old_or_a_class_without_threshold_refuses_nobody(store: AccountStore) -> None:
    await store.put_scores(
        [
            *map(
                with_bytes,
                [score("old", at_us=NOW_US - DAY_US - 1), score("edge", at_us=NOW_US - DAY_US), score("free")],
            )
        ]
    )

    old, edge, free = [
        await store.take(take_request("u", account="old")),
        await store.take(take_request("u", account="edge")),
        await store.take(take_request("u", account="free", at=None)),
    ]

    assert (old.charged, edge.charged, free.charged) == (True, False, True)
    assert old.standing.risk == 0.95


async def test_an_upload_once_let_in_is_refused_when_the_score_refuses_by_now(store: AccountStore) -> None:
    await store.take(take_request("u"))
    await store.put_scores([*map(with_bytes, [score()])])

    result = await store.take(take_request("u"))

    assert (result.charged, result.repeated, result.standing.risk) == (False, False, 0.95)


async def test_an_override_that_denies_charges_nothing_and_reaches_a_repeated_upload(store: AccountStore) -> None:
    limit = per_minute("minute", 5)
    await store.take(take_request("u", limit))
    await store.put_override("a", override(allow=False))

    again, other = await store.take(take_request("u", limit)), await store.take(take_request("v", limit))

    assert (again.charged, other.charged) == (False, False)
    assert other.standing.override == override(allow=False)
    assert await admitted(store, 10, limit, account="b") == 4


async def test_an_override_that_allows_outweighs_score_and_limits_and_charges_where_it_fits(
    store: AccountStore,
) -> None:
    tight, roomy, tried = per_minute("tight", 1), per_minute("roomy", 10, "ip:1"), per_minute("tried", 1, shadow=True)
    await store.put_scores([*map(with_bytes, [score()])])
    await store.put_override("a", override(allow=True))

    results = [await store.take(take_request(f"u{i}", tight, roomy, tried)) for i in range(3)]

    assert [t.charged for t in results] == [True] * 3
    assert [t.shadow for t in results] == [(), ("tried",), ("tried",)]
    assert results[0].standing.override == override(allow=True)
    assert await admitted(store, 20, roomy, account="b") == 7


async def test_an_override_ends_by_itself(store: AccountStore) -> None:
    await store.put_override("a", override(allow=False, expires_at_us=NOW_US + DAY_US))

    before = await store.take(take_request("u", now_us=NOW_US + DAY_US - 1))
    after = await store.take(take_request("u", now_us=NOW_US + DAY_US))

    assert (before.charged, after.charged) == (False, True)
    assert after.standing.override is None


async def test_scores_come_back_whole_in_the_order_given(store: AccountStore) -> None:
    await store.put_scores([*map(with_bytes, [score("a"), score("ü", risk=0.25)])])

    found = await store.scores(["ü", "nobody", "a"])

    assert found == [score("ü", risk=0.25), None, score("a")]


async def test_a_score_as_a_worker_makes_it_decays_and_acts_at_a_check(store: AccountStore) -> None:
    made = replace(
        score(risk=0.875, at_us=NOW_US - 30 * MINUTE_US), stamp=Stamp("c/t", 7, 1, 4, 9), half_life_us=600_000_000, base=0.25,
        acts=False,
    )  # fmt: skip
    await store.put_scores([with_bytes(made)])

    standing = (await store.take(take_request("u"))).standing

    assert (standing.half_life_us, standing.base, standing.acts) == (600_000_000, 0.25, False)
    assert standing.risk == pytest.approx(risk_at(0.875, NOW_US - 30 * MINUTE_US, 600_000_000, 0.25, NOW_US))
    assert await store.scores(["a"]) == [made]


async def test_an_older_stamp_never_replaces_a_newer_and_a_new_epoch_always_does(store: AccountStore) -> None:
    async def put(*scores: Score) -> tuple[int, float | None]:
        stored = await store.put_scores([*map(with_bytes, scores)])
        (found,) = await store.scores(["a"])
        return stored, None if found is None else found.risk

    assert await put(score(risk=0.1, offset=10)) == (1, 0.1)
    assert await put(score(risk=0.2, offset=9)) == (0, 0.1)
    assert await put(score(risk=0.1, offset=10)) == (0, 0.1)
    assert await put(score(risk=0.3, offset=11), score(risk=0.4, offset=12), score(risk=0.5, offset=11)) == (2, 0.4)
    assert await put(score(risk=0.6, offset=1, epoch="f")) == (1, 0.6)


async def test_thousands_of_scores_are_stored_at_once(store: AccountStore) -> None:
    many = [score(f"m{i}", risk=i / 10_000) for i in range(3_000)]

    stored = await store.put_scores([*map(with_bytes, many)])
    again = await store.put_scores([*map(with_bytes, many)])

    assert (stored, again) == (3_000, 0)
    assert await store.scores([s.account for s in many]) == many


async def test_fractions_of_a_second_are_not_lost(store: AccountStore) -> None:
    limit = per_minute("minute", 50)
    assert await admitted(store, 60, limit) == 50

    due = [await store.take(take_request(f"due{i}", limit, now_us=NOW_US + i * 1_200_000)) for i in range(1, 13)]

    assert sum(t.charged for t in due) == 12


async def test_a_clock_that_steps_back_earns_no_second_twice(store: AccountStore) -> None:
    limit = per_minute("minute", 60)
    assert await admitted(store, 70, limit) == 60

    results: list[TakeResult] = []
    for i, step_us in enumerate((1_000_000, 0, 1_000_000, 0, 1_000_000)):
        results.append(await store.take(take_request(f"step{i}", limit, now_us=NOW_US + step_us)))

    assert sum(t.charged for t in results) == 1


async def test_many_requests_at_once_share_one_bucket_and_each_gets_its_own_answer(store: AccountStore) -> None:
    five = one_limit("account:{a}", "limit", Rate(1, MINUTE_US, 5))
    requests = [take_request(f"u-{number}", five) for number in range(100)]

    answers = await store.take_many(requests)
    again = await store.take_many(requests)

    charged = [isinstance(answer, TakeResult) and answer.charged for answer in answers]
    assert sum(charged) == 5  # which five is open, because they go to a server over several connections
    assert [isinstance(answer, TakeResult) and answer.repeated for answer in again] == charged


async def test_the_accounts_that_have_a_score_are_found_by_their_keys(
    redis_store: RedisAccountStore, redis_url: str
) -> None:
    await redis_store.put_scores([*map(with_bytes, [score(), score("b:{x}"), score("übermut")])])
    prefix = redis_store.prefix
    reader = RedisScoreStore(redis_url, prefix=prefix)

    await reader.mark_filled({"0": ("", "mark")})

    found = await reader.some_accounts(100)

    await reader.close()
    assert sorted(found) == sorted([score().account, "b:{x}", "übermut"])
