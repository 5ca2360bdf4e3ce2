"""What reservations promise, over the store in memory and the one in Redis: one answer an upload, settled once, to the µs."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import pytest
from msgspec.structs import replace

from gate.core.duration import HOUR_US
from gate.core.hot_facts import MetFact
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate
from gate.core.limits.reservation import (
    MOST_HOLDERS,
    Expired,
    Report,
    ReservationState,
    SettledAs,
    Settlement,
    Unanswered,
    UploadOutcome,
)
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.core.override import Override
from gate.ports.reservations import ReservationStore
from gate.records.score import with_bytes
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.cluster_map import SLOTS
from gate.stores.redis.reservations import SLOTS_A_LOOK
from tests.take_requests import DAY_US, MINUTE_US, NOW_US, AccountStore, WallClock, override, score

LIFETIME_US = 10 * MINUTE_US
COUNT = Limit("count", Rate(10, 100 * MINUTE_US, 10))
NETWORK = Limit("network", Rate(100, 100 * MINUTE_US, 100))
BYTES = Limit("bytes", Rate(7, MINUTE_US, 1_000), by_bytes=True)
PLATFORM = Limit("platform", Rate(1_000, MINUTE_US, 1_000))
FLYING = Limit("flying", Rate(0, 1, 3), in_flight=True)
ATTEMPTS = itertools.count(1)


class Store(AccountStore, ReservationStore, Protocol):
    """A store of all that is kept by account."""


@pytest.fixture(params=["memory", "redis", pytest.param("cluster", marks=pytest.mark.slow)])
async def store(request: pytest.FixtureRequest, unique: Callable[[], str]) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryAccountStore(WallClock())
        return
    url = request.getfixturevalue(f"{request.param}_url")
    redis = RedisAccountStore(url, prefix=f"{unique()}:", deadline_s=5.0)
    await redis.open()
    yield redis
    await redis.close()


def limits(*own: Limit, returns: bool = False, lifetime_us: int = LIFETIME_US, name: str = "new") -> ClassLimits:
    """A class with limits on the account, the network, the device and the platform."""
    return ClassLimits(
        EntityLimits(own or (COUNT, BYTES)), EntityLimits((NETWORK,)), None,
        (EntityBuckets("platform", EntityLimits((PLATFORM,))),), 0.9, DAY_US, lifetime_us, returns, name,
    )  # fmt: skip


NEW = limits()


def check(
    upload: str = "u", of: ClassLimits = NEW, size: int = 10, now_us: int = NOW_US, account: str = "a",
    ip: str | None = "1f", kind: str = "image",
) -> TakeRequest:  # fmt: skip
    """A check of an upload, with a number of its own."""
    return TakeRequest(
        account, upload, of, ip, None, size, now_us, class_="new", kind=kind, attempt=next(ATTEMPTS)
    )  # fmt: skip


def report(outcome: UploadOutcome, upload: str = "u", real: int | None = None) -> Report:
    return Report("a", upload, outcome, real)


def unheard(of: TakeRequest) -> Unanswered:
    return Unanswered(of.account, of.upload_id, of.attempt)


async def fill(store: Store, of: ClassLimits = NEW, now_us: int = NOW_US) -> dict[str, int]:
    """Until when each bucket of account a fills, in µs from `now_us`."""
    peeked = await store.peek(check("peek", of, now_us=now_us))
    return {room.limit.name: room.full_at_us - now_us for room in peeked.rooms}


async def all_due(store: Store, now_us: int) -> list[Expired]:
    """All that is due; a Cluster tells it slot by slot."""
    found = [each for _ in range(SLOTS // SLOTS_A_LOOK) for each in await store.due(10, now_us)]
    return list(dict.fromkeys(found))


async def settled(store: Store, *notices: Report | Unanswered | Expired, now_us: int = NOW_US) -> list[Settlement]:
    found = await store.settle(notices, now_us)
    assert not any(isinstance(each, Exception) for each in found)
    return [each for each in found if not isinstance(each, Exception)]


EMPTY = dict.fromkeys(("count", "bytes", "network", "platform"), 0)
TAKEN = {
    "count": COUNT.cost_us(10), "bytes": BYTES.cost_us(10), "network": NETWORK.cost_us(10), "platform": PLATFORM.cost_us(10),
}  # fmt: skip


@pytest.mark.parametrize("outcome", [UploadOutcome.FAILED, UploadOutcome.ABORTED])
async def test_an_upload_that_did_not_happen_gives_back_everything_once(store: Store, outcome: UploadOutcome) -> None:
    store.expect((NEW,))
    await store.take(check("other", account="b", ip=None))
    before = await fill(store)
    await store.take(check())
    taken = await fill(store)

    first, second, other = await settled(
        store, report(outcome), report(outcome), report(UploadOutcome.COMMITTED, real=5)
    )

    state = ReservationState.FAILED if outcome is UploadOutcome.FAILED else ReservationState.ABORTED
    assert taken == {**TAKEN, "platform": 2 * TAKEN["platform"]}
    assert await fill(store) == before == {**EMPTY, "platform": TAKEN["platform"]}
    assert first == Settlement(SettledAs.SETTLED, state)
    assert second == other == Settlement(SettledAs.REPEATED, state)


@pytest.mark.parametrize("real", [0, 3, 10, 700, None])
async def test_a_committed_upload_counts_its_real_bytes_and_the_rest_stays(store: Store, real: int | None) -> None:
    store.expect((NEW,))
    await store.take(check())

    answers = await settled(store, report(UploadOutcome.COMMITTED, real=real), report(UploadOutcome.FAILED))

    assert await fill(store) == {**TAKEN, "bytes": BYTES.cost_us(10 if real is None else real)}
    assert answers[0] == Settlement(SettledAs.SETTLED, ReservationState.COMMITTED)
    assert answers[1] == Settlement(SettledAs.REPEATED, ReservationState.COMMITTED)


async def test_an_upload_beyond_the_burst_leaves_a_debt_that_is_paid_by_waiting(store: Store) -> None:
    store.expect((NEW,))
    await store.take(check(size=100))

    await settled(store, report(UploadOutcome.COMMITTED, real=50_000))
    debt_us = BYTES.cost_us(50_000)
    refused = await store.take(check("v"))
    wait_us = debt_us + BYTES.cost_us(10) - BYTES.rate.tolerance_us

    assert debt_us > BYTES.rate.tolerance_us + HOUR_US
    assert refused.refusal is not None
    assert (refused.refusal.limit, refused.refusal.retry_after_us) == ("bytes", wait_us)
    assert not (await store.take(check("w", now_us=NOW_US + wait_us - 1))).charged
    assert (await store.take(check("x", now_us=NOW_US + wait_us))).charged


async def test_debts_of_ages_add_up_to_a_time_that_a_store_can_keep_and_a_peek_agrees_with_a_check(
    store: Store,
) -> None:
    slow = Limit("bytes", Rate(1 << 20, DAY_US, 1 << 20), by_bytes=True)
    of = limits(slow)
    store.expect((of,))
    for n in range(5):
        await store.take(check(f"u{n}", of))

    await settled(store, *(report(UploadOutcome.COMMITTED, f"u{n}", 1 << 40) for n in range(5)))
    peeked, refused = await store.peek(check("v", of)), await store.take(check("v", of))

    assert peeked.result.refusal is not None
    assert refused.refusal == peeked.result.refusal
    assert refused.refusal.limit == "bytes"
    assert refused.refusal.retry_after_us is not None
    assert refused.refusal.retry_after_us > 5 * 365 * DAY_US


async def test_the_same_upload_gets_the_same_answer_and_other_content_is_a_conflict(store: Store) -> None:
    first = await store.take(check())
    taken = await fill(store)

    again = await store.take(check(now_us=NOW_US + 7))
    others = [
        await store.take(each)
        for each in (
            check(size=11), check(ip="2f"), check(kind="video"), replace(check(), device="d"), replace(check(), class_="x")
        )
    ]  # fmt: skip

    assert (first.charged, first.repeated) == (True, False)
    assert (again.charged, again.repeated, again.now_us) == (True, True, NOW_US)
    assert [(other.charged, other.conflict, other.refusal) for other in others] == [(False, True, None)] * 5
    assert await fill(store) == taken


async def test_a_refusal_is_repeated_until_its_retry_after_has_passed_also_where_room_came_back(store: Store) -> None:
    one = limits(Limit("one", Rate(1, MINUTE_US, 1)))
    await store.take(check("u0", one))
    refused = await store.take(check("u1", one))
    await settled(store, report(UploadOutcome.FAILED, "u0"))

    again = await store.take(check("u1", one, now_us=NOW_US + MINUTE_US - 1))
    other = await store.take(check("u1", one, size=11, now_us=NOW_US + MINUTE_US - 1))
    later = await store.take(check("u1", one, now_us=NOW_US + MINUTE_US))

    assert refused.refusal is not None
    assert again.refusal is not None
    assert (refused.refusal.limit, refused.refusal.retry_after_us) == ("one", MINUTE_US)
    assert (again.refusal.limit, again.refusal.retry_after_us) == ("one", 1)
    assert (other.conflict, later.charged) == (True, True)


@pytest.mark.parametrize("upload", ["u" * 250, "u" * 251, "u" * 256, "ü" * 125, "ü" * 126, "ü" * 128])
async def test_an_upload_with_a_long_id_is_answered_once_and_settled_by_its_id(store: Store, upload: str) -> None:
    store.expect((NEW,))

    first = await store.take(check(upload))
    other, again = await store.take(check(upload[:-1])), await store.take(check(upload))
    peeked = await store.peek(check(upload))
    (failed,) = await settled(store, report(UploadOutcome.FAILED, upload))

    assert [each.charged for each in (first, other, again)] == [True] * 3
    assert [each.repeated for each in (first, other, again, peeked.result)] == [False, False, True, True]
    assert failed.settled is SettledAs.SETTLED
    assert await fill(store) == {**TAKEN}


async def test_an_upload_that_was_given_back_is_judged_anew(store: Store) -> None:
    await store.take(check())
    await settled(store, report(UploadOutcome.FAILED))

    again = await store.take(check())

    assert (again.charged, again.repeated) == (True, False)
    assert await fill(store) == TAKEN


async def test_what_several_checks_got_the_answer_of_returns_when_all_of_them_have_given_it_up(store: Store) -> None:
    alone, first, second, third = check("alone"), check(), check(), check()
    for each in (alone, first, second, third, first, second):
        await store.take(each)

    answers = await settled(
        store, unheard(alone), unheard(first), unheard(first), unheard(third), unheard(check())
    )  # fmt: skip
    before = await fill(store)
    later = await settled(store, unheard(second), unheard(second))

    still_open = Settlement(SettledAs.REPEATED, ReservationState.OPEN)
    assert answers == [
        Settlement(SettledAs.SETTLED, ReservationState.ABORTED), still_open, still_open,
        *[replace(still_open, by_other=True)] * 2,
    ]  # fmt: skip
    assert before == TAKEN
    assert later == [
        Settlement(SettledAs.SETTLED, ReservationState.ABORTED, by_other=True),
        Settlement(SettledAs.REPEATED, ReservationState.ABORTED, by_other=True),
    ]
    assert await fill(store) == EMPTY


@pytest.mark.parametrize("more", [0, 1])
async def test_more_checks_than_are_named_keep_what_they_share(store: Store, more: int) -> None:
    checks = [check() for _ in range(MOST_HOLDERS + more)]
    for each in checks:
        await store.take(each)

    for each in checks:
        await settled(store, unheard(each))

    assert await fill(store) == (TAKEN if more else EMPTY)


async def test_a_check_without_a_number_keeps_what_it_shares_with_one_that_gives_it_up(store: Store) -> None:
    first = check()
    await store.take(first)
    await store.take(replace(check(), attempt=0))

    await settled(store, unheard(first))

    assert await fill(store) == TAKEN


async def test_a_check_that_comes_back_after_it_gave_the_answer_up_has_it_again(store: Store) -> None:
    first, second = check(), check()
    for each in (first, second):
        await store.take(each)
    await settled(store, unheard(second))
    await store.take(second)

    await settled(store, unheard(first))
    between = await fill(store)
    await settled(store, unheard(second))

    assert between == TAKEN
    assert await fill(store) == EMPTY


async def test_what_shared_checks_gave_up_in_part_is_settled_and_due_as_before(store: Store) -> None:
    of = limits(returns=True)
    store.expect((of,))
    first, second = check(of=of), check(of=of)
    for each in (first, second):
        await store.take(each)
    await settled(store, unheard(first))

    due = await all_due(store, NOW_US + LIFETIME_US)
    (found,) = await settled(store, report(UploadOutcome.COMMITTED, real=10))
    again = await store.take(check(of=of))

    assert [each.upload_id for each in due] == ["u"]
    assert found == Settlement(SettledAs.SETTLED, ReservationState.COMMITTED)
    assert (again.charged, again.repeated) == (True, True)


async def test_a_notice_about_a_later_reservation_says_that_its_check_may_have_taken_before(store: Store) -> None:
    first, second = check(), check()
    await store.take(first)
    await settled(store, report(UploadOutcome.FAILED))
    await store.take(second)

    found = await settled(store, unheard(first))

    assert found == [Settlement(SettledAs.REPEATED, ReservationState.OPEN)]


async def test_a_notice_about_a_refusal_says_that_its_check_may_have_taken_before(store: Store) -> None:
    one = limits(Limit("one", Rate(1, MINUTE_US, 1)))
    first, resent, plain = check("u", one), check("w", one), check("x", one)
    for each in (first, resent):
        await store.take(each)
        await settled(store, report(UploadOutcome.FAILED, each.upload_id))
    await store.take(check("v", one))
    refused = [(await store.take(each)).charged for each in (check("u", one), resent, plain)]

    found = await settled(
        store, *map(unheard, (first, resent, plain)), *(report(UploadOutcome.FAILED, upload) for upload in "uwx")
    )

    assert refused == [False] * 3
    assert found == [
        *[Settlement(SettledAs.REPEATED, ReservationState.REFUSED)] * 2, *[Settlement(SettledAs.UNKNOWN, None)] * 4
    ]  # fmt: skip


async def test_an_upload_that_was_given_back_is_known_after_a_refusal_beside_many_others(store: Store) -> None:
    seven = limits(Limit("seven", Rate(1, MINUTE_US, 7)))
    first, third = check("u", seven), check("u", seven)
    await store.take(first)
    await settled(store, report(UploadOutcome.FAILED))
    others = [await store.take(check(f"u{n}", seven)) for n in range(7)]
    refused = await store.take(check("u", seven))

    before = await settled(store, unheard(first))
    again = await store.take(replace(third, now_us=NOW_US + MINUTE_US))
    after = await settled(store, unheard(first), now_us=NOW_US + MINUTE_US)

    assert [each.charged for each in (*others, refused, again)] == [True] * 7 + [False, True]
    assert [each.settled for each in (*before, *after)] == [SettledAs.REPEATED] * 2
    assert not after[0].by_other


@pytest.mark.parametrize("size", [10, 11], ids=["the same upload", "other content"])
async def test_a_refusal_is_not_repeated_once_staff_let_the_account_in(store: Store, size: int) -> None:
    of = ClassLimits(
        EntityLimits((Limit("one", Rate(1, MINUTE_US, 1)),)), EntityLimits((Limit("ip", Rate(1, MINUTE_US, 1)),)), None, (),
        0.9, DAY_US, LIFETIME_US, False, "new",
    )  # fmt: skip
    await store.take(check("u", of))
    by_account = await store.take(check("v", of, ip=None))
    by_network = await store.take(check("v", of, account="b"))
    for account in "ab":
        await store.put_override(account, override(allow=True, expires_at_us=NOW_US + DAY_US))

    results = [
        await store.take(check("v", of, size, ip=None)), await store.take(check("v", of, size, account="b"))
    ]  # fmt: skip

    assert (by_account.charged, by_network.charged) == (False, False)
    assert [(each.charged, each.repeated, each.refusal, each.conflict) for each in results] == [
        (True, False, None, False)
    ] * 2


def of_subject(subject: str, name: str, burst: int) -> ClassLimits:
    bursts = {"account": 99, "ip": 99, "device": 99, subject: burst}
    own, ip, device = (
        EntityLimits((Limit(f"{each} {name}", Rate(most, MINUTE_US, most)),)) for each, most in bursts.items()
    )
    return ClassLimits(own, ip, device, (), 0.9, DAY_US, LIFETIME_US, False, name)


@pytest.mark.parametrize("subject", ["account", "ip", "device"])
async def test_a_refusal_is_not_repeated_once_staff_gave_the_account_other_limits(store: Store, subject: str) -> None:
    one, many = of_subject(subject, "new", 1), of_subject(subject, "trusted", 9)
    store.expect((one, many))
    await store.take(replace(check("u", one), device="2e"))
    refused = await store.take(replace(check("v", one), device="2e"))
    await store.put_override("a", replace(override(allow=False, expires_at_us=NOW_US + DAY_US), limits="trusted"))

    named = await store.take(replace(check("v", one), device="2e"))
    taken = await store.take(replace(check("v", many), device="2e"))

    assert (refused.charged, named.limits_of, taken.charged, taken.refusal) == (False, "trusted", True, None)


async def test_an_upload_that_was_given_back_is_known_after_a_refusal_that_many_others_follow(store: Store) -> None:
    ten = EntityBuckets("class:new", EntityLimits((Limit("ten", Rate(10, MINUTE_US, 10), by_bytes=True),)))
    ten_for_all = ClassLimits(None, None, None, (ten,), None, DAY_US, LIFETIME_US, False, "new")
    first = check("u", ten_for_all, size=6)
    await store.take(first)
    await settled(store, report(UploadOutcome.FAILED))
    await store.take(check("v", ten_for_all, size=8, account="b"))
    refused = await store.take(check("u", ten_for_all, size=6))
    others = [await store.take(check(f"u{n}", ten_for_all, size=0)) for n in range(20)]

    later_us = NOW_US + MINUTE_US // 2
    again = await store.take(check("u", ten_for_all, size=6, now_us=later_us))
    (after,) = await settled(store, unheard(first), now_us=later_us)

    assert [each.charged for each in (refused, *others, again)] == [False, *[True] * 21]
    assert after.settled is SettledAs.REPEATED
    assert not after.by_other


async def test_a_check_that_is_sent_again_is_known_as_the_one_that_took_although_another_has_its_answer(
    store: Store,
) -> None:
    first, second = check(), check()
    await store.take(first)
    others = [await store.take(second) for _ in range(2)]

    again = await store.take(first)

    assert [(each.repeated, each.resent) for each in (*others, again)] == [(True, False), (True, False), (True, True)]


async def test_an_unknown_upload_is_unknown_and_a_refused_one_too(store: Store) -> None:
    one = limits(Limit("none", Rate(1, MINUTE_US, 1)))
    await store.take(check("u0", one))
    await store.take(check("u1", one))

    answers = await settled(store, report(UploadOutcome.FAILED, "u1"), report(UploadOutcome.COMMITTED, "never"))

    assert answers == [Settlement(SettledAs.UNKNOWN, None)] * 2


@pytest.mark.parametrize("returns", [False, True])
async def test_a_late_report_is_answered_with_what_happened_at_expiry(store: Store, returns: bool) -> None:
    of = limits(returns=returns)
    await store.take(check(of=of))
    late_us = NOW_US + LIFETIME_US

    found = await settled(store, report(UploadOutcome.FAILED), report(UploadOutcome.COMMITTED, real=5), now_us=late_us)

    state = ReservationState.RETURNED if returns else ReservationState.KEPT
    assert found == [Settlement(SettledAs.EXPIRED, state)] * 2
    expected = EMPTY if returns else {name: max(0, cost - LIFETIME_US) for name, cost in TAKEN.items()}
    assert await fill(store, of, late_us) == expected


async def test_unreported_uploads_are_due_at_their_end_where_the_policy_gives_them_back(store: Store) -> None:
    of = limits(returns=True)
    for upload, account in (("u", "a"), ("v", "a}:b"), ("w", "a")):
        await store.take(check(upload, of, account=account, ip=None))
    await settled(store, report(UploadOutcome.COMMITTED, "w"))
    store.expect([of])

    early = await all_due(store, NOW_US + LIFETIME_US - 1)
    due = await all_due(store, NOW_US + LIFETIME_US)
    await settled(store, *due, now_us=NOW_US + LIFETIME_US)

    assert early == []
    assert sorted((notice.account, notice.upload_id) for notice in due) == [("a", "u"), ("a}:b", "v")]
    assert await all_due(store, NOW_US + LIFETIME_US) == []
    left = await fill(store, of, NOW_US + LIFETIME_US)
    assert left["count"] == max(0, TAKEN["count"] - LIFETIME_US)


async def test_as_many_are_in_flight_at_once_as_the_limit_says_and_reports_make_room(store: Store) -> None:
    of = limits(FLYING)
    results = [await store.take(check(f"u{n}", of)) for n in range(4)]
    await settled(store, report(UploadOutcome.COMMITTED, "u0"))

    after_report = [await store.take(check(f"v{n}", of)) for n in range(2)]
    await settled(store, report(UploadOutcome.FAILED, "u1"))
    after_failure = await store.take(check("w", of))
    after_expiry = await store.take(check("x", of, now_us=NOW_US + LIFETIME_US))

    assert [result.charged for result in results] == [True] * 3 + [False]
    assert results[3].refusal is not None
    assert (results[3].refusal.limit, results[3].refusal.retry_after_us) == ("flying", LIFETIME_US)
    assert [result.charged for result in after_report] == [True, False]
    assert (after_failure.charged, after_expiry.charged) == (True, True)


async def test_an_account_with_the_name_of_another_key_has_values_of_its_own(
    redis_url: str, unique: Callable[[], str]
) -> None:
    prefix = f"{unique()}:"
    store = RedisAccountStore(redis_url, prefix=prefix, deadline_s=5.0)
    await store.open()
    of = limits(Limit("one", Rate(1, MINUTE_US, 1)), FLYING)
    names = (f"{prefix}2f:account:{{victim}}", "victim", f"{prefix}2b:ip:1f")
    checks = [check(f"u{n}", of, account=name) for n, name in enumerate(names)]

    first = await store.take_many(checks)
    again = await store.take_many([check(f"v{n}", of, account=name) for n, name in enumerate(names)])
    await store.close()

    assert [each.charged for each in first if not isinstance(each, Exception)] == [True] * 3
    refusals = [None if isinstance(each, Exception) or each.refusal is None else each.refusal.limit for each in again]
    assert refusals == ["one"] * 3


async def test_of_a_hundred_checks_at_once_exactly_as_many_are_in_flight_as_the_limit_says(store: Store) -> None:
    of = limits(FLYING)

    results = await asyncio.gather(*(store.take(check(f"u{n}", of)) for n in range(100)))

    assert sum(result.charged for result in results) == 3


@pytest.mark.parametrize("rate", [Rate(0, MINUTE_US, 5), Rate(5, MINUTE_US, 0), Rate(0, MINUTE_US, 0)])
@pytest.mark.parametrize("by_bytes", [False, True])
async def test_with_a_rate_or_a_burst_of_zero_nothing_passes(store: Store, rate: Rate, by_bytes: bool) -> None:
    of = limits(Limit("zero", rate, by_bytes=by_bytes))

    results = [await store.take(check("u", of, size=size)) for size in (0, 1, 1 << 40)]

    assert [result.charged for result in results] == [False] * 3
    assert {None if each.refusal is None else each.refusal.limit for each in results} == {"zero"}
    assert {None if each.refusal is None else each.refusal.retry_after_us for each in results} == {None}


async def test_a_limit_of_none_in_flight_is_legal_and_lets_nobody_in(store: Store) -> None:
    of = limits(Limit("none", Rate(0, 1, 0), in_flight=True))

    result = await store.take(check("u", of))

    assert result.refusal is not None
    assert (result.charged, result.refusal.limit, result.refusal.retry_after_us) == (False, "none", None)


async def test_far_more_reservations_of_one_account_than_its_value_holds_are_all_settled_once(store: Store) -> None:
    wide = limits(Limit("wide", Rate(1_000, MINUTE_US, 1_000)))
    uploads = [f"u{n}" for n in range(60)]
    results = await asyncio.gather(*(store.take(check(upload, wide)) for upload in uploads))

    again = await asyncio.gather(*(store.take(check(upload, wide)) for upload in uploads))
    notices = [
        report(UploadOutcome.FAILED if n % 2 else UploadOutcome.COMMITTED, upload) for n, upload in enumerate(uploads)
    ]
    found = await settled(store, *notices)
    twice = await settled(store, *notices)

    assert all(result.charged and not result.repeated for result in results)
    assert all(result.charged and result.repeated for result in again)
    assert {each.settled for each in found} == {SettledAs.SETTLED}
    assert {each.settled for each in twice} == {SettledAs.REPEATED}
    assert (await fill(store, wide))["wide"] == 30 * MINUTE_US // 1_000


async def test_two_gates_that_settle_the_same_upload_settle_it_once(store: Store) -> None:
    await store.take(check())

    found = await asyncio.gather(*(store.settle([report(UploadOutcome.FAILED)], NOW_US) for _ in range(20)))

    met = [each.settled for (each,) in found if isinstance(each, Settlement)]
    assert sorted(met) == [SettledAs.REPEATED] * 19 + [SettledAs.SETTLED]
    assert await fill(store) == EMPTY


async def test_a_peek_answers_as_the_check_would_and_changes_nothing(store: Store) -> None:
    one = limits(Limit("one", Rate(1, MINUTE_US, 1)), FLYING)
    await store.take(check("u0", one))
    requests = [check("u1", one), check("u0", one), check("u0", one, size=11)]

    peeked = [await store.peek(request) for request in requests]
    again = [await store.peek(request) for request in requests]
    taken = [await store.take(request) for request in requests]

    assert [each.result for each in peeked] == taken
    assert peeked == again
    lefts = {room.limit.name: room.left(NOW_US) for room in peeked[0].rooms}
    assert lefts == {"one": 0, "flying": 2, "network": 99, "platform": 999}


async def test_an_account_with_limits_by_override_is_taken_from_with_those_alone(store: Store) -> None:
    wide = limits(Limit("one", Rate(1, MINUTE_US, 3)), name="trusted")
    one = limits(Limit("one", Rate(1, MINUTE_US, 1)))
    await store.put_override("a", replace_limits("trusted"))
    told = await store.take(check("u", one))

    results = [await store.take(replace(check(f"u{n}", wide), class_="new")) for n in range(4)]
    kept = await store.take(replace(check("v", one), keep_limits=True))

    assert (told.charged, told.limits_of, told.refusal) == (False, "trusted", None)
    assert [(each.charged, each.limits_of) for each in results] == [(True, None)] * 3 + [(False, None)]
    assert (kept.charged, kept.limits_of) == (False, None)


def replace_limits(name: str) -> Override:
    return replace(override(allow=False), limits=name)


async def test_limits_by_override_leave_the_score_as_it_is(store: Store) -> None:
    await store.put_override("a", replace_limits("new"))
    await store.put_scores([with_bytes(score(risk=0.95))])

    refused = await store.take(check())

    assert (refused.charged, refused.limits_of, refused.standing.risk) == (False, None, 0.95)


async def test_an_answer_names_the_emptiest_bucket_and_what_is_left_of_it(store: Store) -> None:
    result = await store.take(check(size=500))

    assert result.room is not None
    assert (result.room.limit.name, result.room.left(NOW_US)) == ("bytes", 500)


@pytest.fixture
async def second(redis_url: str, redis_store: RedisAccountStore) -> AsyncIterator[RedisAccountStore]:
    gate = RedisAccountStore(redis_url, prefix=redis_store.prefix, deadline_s=5.0)
    await gate.open()
    yield gate
    await gate.close()


async def test_a_second_gate_with_another_policy_gives_the_same_answer_and_settles_what_the_first_took(
    redis_store: RedisAccountStore, second: RedisAccountStore, unique: Callable[[], str]
) -> None:
    later = limits(Limit("newer", Rate(5, MINUTE_US, 5)), BYTES, COUNT)
    await redis_store.take(check())
    second.expect((later,))

    again = await second.take(check(of=later))
    other = await second.take(check("v", of=later))
    found = await second.settle([report(UploadOutcome.FAILED), report(UploadOutcome.COMMITTED, "v", 20)], NOW_US)

    assert (again.charged, again.repeated, other.charged, other.repeated) == (True, True, True, False)
    assert [each.settled for each in found if isinstance(each, Settlement)] == [SettledAs.SETTLED] * 2
    left = await fill(redis_store)
    assert left == {**TAKEN, "bytes": BYTES.cost_us(20)}


def some_limits(rng: random.Random, subject: str) -> EntityLimits | None:
    """Up to two limits, on uploads, on bytes or on what is in flight."""
    found: list[Limit] = []
    for number in range(rng.randint(0, 2)):
        name, burst, is_shadow = f"{subject} {number}", rng.randint(0, 6), rng.random() < 0.2
        unit = rng.choice(("uploads", "uploads", "bytes", "in flight"))
        per_unit = 10 if unit == "bytes" else 1
        rate = Rate(rng.randint(1, 6) * per_unit, MINUTE_US, burst * per_unit)
        found.append(Limit(name, rate, is_shadow, unit == "bytes", unit == "in flight"))
    return EntityLimits(tuple(found)) if found else None


def some_class(rng: random.Random, name: str) -> ClassLimits:
    account, ip, device = (some_limits(rng, f"{subject} {name}") for subject in ("account", "ip", "device"))
    shared = [(entity, some_limits(rng, f"{entity} {name}")) for entity in ("platform", f"class:{name}")]
    buckets = tuple(EntityBuckets(entity, limits) for entity, limits in shared if limits is not None)
    lifetime_us = rng.choice((MINUTE_US // 4, LIFETIME_US))
    return ClassLimits(
        account, ip, device, buckets, rng.choice((None, 0.8)), DAY_US, lifetime_us, rng.random() < 0.4, name
    )


async def test_a_peek_knows_the_uploads_of_a_network_that_lets_no_more_in(store: Store) -> None:
    of = of_subject("ip", "new", 60)  # more than one value holds
    store.expect((of,))
    checks = [check("u", of, 10, NOW_US, f"a{n}", "1f") for n in range(60)]
    taken = [await store.take(each) for each in checks]

    peeked = [(await store.peek(each)).result for each in checks]

    assert all(each.charged for each in taken)
    assert [each.repeated for each in peeked] == [True] * 60
    assert peeked == [await store.take(each) for each in checks]


@pytest.mark.parametrize("seed", range(8))
async def test_a_peek_answers_as_the_take_that_follows_it(store: Store, seed: int) -> None:
    rng, now_us = random.Random(seed), NOW_US
    classes = [some_class(rng, name) for name in ("new", "trusted")]
    store.expect(classes)
    differ = []
    for step in range(120):
        now_us += rng.choice((0, 1, 1_000_000, 9_000_000))
        account, upload, event = rng.choice("ab"), f"u{rng.randrange(5)}", rng.random()
        if event < 0.15:
            outcome, real = rng.choice(list(UploadOutcome)), rng.choice((None, 5, 30))
            await settled(store, Report(account, upload, outcome, real), now_us=now_us)
            continue
        if event < 0.2:
            staff = override(rng.random() < 0.5, now_us + rng.choice((1, 20_000_000)))
            await store.put_override(account, replace(staff, limits=rng.choice((None, None, "new", "trusted"))))
        elif event < 0.3:
            made = score(account, rng.choice((0.1, 0.5, 0.9)), step, at_us=now_us - rng.randrange(HOUR_US))
            half_life_us, acts = rng.choice((0, HOUR_US)), rng.random() < 0.8
            await store.put_scores([with_bytes(replace(made, half_life_us=half_life_us, base=0.02, acts=acts))])
        request = replace(
            check(upload, classes[rng.random() < 0.3], rng.choice((10, 10, 10, 11)), now_us, account),
            ip=rng.choice(("1f", "2f", None)), device=rng.choice((None, "2e", "3e")),
            hot=rng.choice((None, None, MetFact(0.9, "device:2e", True), MetFact(0.5, "device:2e", False))),
        )  # fmt: skip

        peeked, taken = (await store.peek(request)).result, await store.take(request)

        if (
            taken.standing.override is not None
        ):  # which of the limits that refuse nobody has least room is told to nobody
            peeked, taken = replace(peeked, room=None), replace(taken, room=None)
        if peeked != taken:
            differ.append((step, peeked, taken))
    assert not differ, f"seed {seed}"
