"""Accounts, classes and limits whose names have braces, which Redis Cluster takes for hash tags, in every store.

Their keys lie in one slot like any other's.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import pytest

from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate
from gate.core.limits.reservation import Report, SettledAs, UploadOutcome
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.override import Override
from gate.records.score import with_bytes
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.layout import upload_key, upload_of_key
from gate.stores.redis.scores import RedisScoreStore
from tests.take_requests import score

MINUTE_US = 60_000_000
LIMITS = ClassLimits(
    EntityLimits((Limit("uploads", Rate(2, MINUTE_US, 2)), Limit("open", Rate(1, MINUTE_US, 1), in_flight=True))),
    None, None, (), 0.9, 60 * MINUTE_US, MINUTE_US, returns=True, name="new",
)  # fmt: skip
IDS = ["}x", "}", "{}", "{}{", "a}b", "{a", "}}{{", "x{y}z"]


@pytest.fixture(params=["cluster_url", "redis_url"])
async def store(request: pytest.FixtureRequest, unique: Callable[[], str]) -> AsyncIterator[RedisAccountStore]:
    url = request.getfixturevalue(request.param)
    store = RedisAccountStore(url, prefix=f"{unique()}:", deadline_s=20.0, lanes=1, bulk_deadline_s=20.0)
    await store.open()
    store.expect([LIMITS])
    yield store
    await store.close()


def a_take(account: str, upload: str = "u-1") -> TakeRequest:
    return TakeRequest(account, upload, LIMITS, class_="new", kind="image", attempt=1)


@pytest.mark.parametrize("account", IDS)
async def test_an_account_is_taken_from_settled_scored_and_refused_by_staff(
    store: RedisAccountStore, account: str
) -> None:
    await store.put_scores([with_bytes(score(account, 0.5))])
    first = await store.take(a_take(account))
    second = await store.take(a_take(account, "u-2"))
    full = await store.peek(a_take(account, "u-3"))
    (settled,) = await store.settle([Report(account, "u-1", UploadOutcome.ABORTED)])
    empty = await store.peek(a_take(account, "u-3"))
    await store.put_override(account, Override(False, "farm", "ann", time.time_ns() // 1000 + MINUTE_US))
    refused = await store.take(a_take(account, "u-3"))

    assert (first.charged, first.standing.risk) == (True, 0.5)
    assert second.refusal is not None
    assert second.refusal.limit == "open"
    assert getattr(settled, "settled", settled) is SettledAs.SETTLED
    assert [[room.left(room.full_at_us) for room in peek.rooms][1] for peek in (full, empty)] == [0, 1]
    assert (refused.charged, refused.standing.override is not None) == (False, True)
    assert (await store.overrides([account]))[0] is not None
    assert (await store.scores([account]))[0] is not None


async def test_what_nobody_reports_comes_back_from_the_list_by_its_own_name(
    redis_url: str, unique: Callable[[], str]
) -> None:
    store = RedisAccountStore(redis_url, prefix=f"{unique()}:", deadline_s=20.0, lanes=1, bulk_deadline_s=20.0)
    await store.open()
    store.expect([LIMITS])
    for account in IDS:
        await store.take(a_take(account))

    due = await store.due(100, time.time_ns() // 1000 + 2 * MINUTE_US)
    await store.close()

    assert sorted((each.account, each.upload_id) for each in due) == sorted((account, "u-1") for account in IDS)


async def test_overrides_are_listed_by_the_ids_that_accounts_have(store: RedisAccountStore) -> None:
    override = Override(False, "farm", "ann", time.time_ns() // 1000 + MINUTE_US)
    for account in IDS:
        await store.put_override(account, override)

    assert set(await store.all_overrides(100)) == set(IDS)


@pytest.mark.parametrize("server", ["cluster_url", "redis_url"])
async def test_a_worker_writes_reads_lists_and_forgets_their_scores(
    request: pytest.FixtureRequest, unique: Callable[[], str], server: str
) -> None:
    store = RedisScoreStore(request.getfixturevalue(server), prefix=f"{unique()}:")

    stored = await store.put_scores([with_bytes(score(account, 0.5)) for account in IDS])
    read = await store.scores(IDS)
    listed = await store.some_accounts(100)
    forgotten = await store.forget_scores(IDS, 1 << 52)
    left = await store.scores(IDS)
    await store.close()

    assert (stored, forgotten) == (len(IDS), len(IDS))
    assert all(each is not None for each in read)
    assert set(listed) == set(IDS)
    assert left == [None] * len(IDS)


@pytest.mark.parametrize("name", IDS)
async def test_a_class_and_its_limits_may_have_them_too(store: RedisAccountStore, name: str) -> None:
    limits = EntityLimits((Limit(name, Rate(2, MINUTE_US, 2)),))
    shared = EntityBuckets(f"class:{name}", limits), EntityBuckets("platform", limits)
    of = ClassLimits(limits, limits, limits, shared, 0.9, 60 * MINUTE_US, MINUTE_US, returns=True, name=name)
    store.expect([of])

    def taken(upload: str) -> TakeRequest:
        return TakeRequest("a", upload, of, "1f", "2e", class_=name, kind="image", attempt=1)

    charged = [(await store.take(taken(f"u-{n}"))).charged for n in range(3)]
    (settled,) = await store.settle([Report("a", "u-0", UploadOutcome.ABORTED)])
    again = await store.take(taken("u-9"))

    assert (charged, again.charged) == ([True, True, False], True)
    assert getattr(settled, "settled", settled) is SettledAs.SETTLED


async def test_in_a_batch_no_account_keeps_another_from_an_answer(store: RedisAccountStore) -> None:
    answers = await store.take_many([a_take(account) for account in [*IDS, "plain", "größe"]])

    assert [isinstance(answer, TakeResult) and answer.charged for answer in answers] == [True] * (len(IDS) + 2)


@pytest.mark.parametrize("account", [*IDS, "plain", "größe"])
@pytest.mark.parametrize("upload_id", ["u", "}", "1:u}2:v", "{}"])
def test_the_key_of_an_upload_tells_its_account(account: str, upload_id: str) -> None:
    assert upload_of_key("ug:", upload_key("ug:", account, upload_id)) == (account, upload_id)
