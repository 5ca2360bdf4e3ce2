"""What leases promise, over the store in memory and the one in Redis: no token is given twice, only a dead gate's are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Protocol

import pytest

from gate.app.leased_takes import LeasedTakes
from gate.app.settle import Reports
from gate.core.limits.limit import Limit, Rate
from gate.core.limits.reservation import Report, SettledAs, Settlement, UploadOutcome
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.limits.token_lease import Exchange, Exchanged
from gate.core.policy import LimitRule, Mode, OnStoreError, Subject, Thresholds, Unit
from gate.errors import StoreUnavailable
from gate.local.free_port import free_port
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.ports.reservations import ReservationStore
from gate.ports.token_leases import TokenLeaseStore
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from gate.stores.redis.reservations import MOST_AT_ONCE, RedisReservationStore
from gate.stores.redis.token_leases import RedisTokenLeases
from tests.leased_gates import SECOND_US, LeasedGate, leased_class
from tests.proxies import FaultProxy, LosesReplies
from tests.take_requests import DAY_US, AccountStore, WallClock
from tests.waiting import eventually

SLOW = Rate(300, 365 * DAY_US, 300)
"""So slow that nothing fills up again while a test runs, and every token is counted."""
PLATFORM = Limit("platform.uploads", SLOW, lease=100)
BYTES = Limit("platform.bytes", Rate(30_000, 365 * DAY_US, 30_000), by_bytes=True, lease=10_000)
OWN = Limit("account.uploads", Rate(5, 365 * DAY_US, 5))


class Store(AccountStore, ReservationStore, Protocol):
    """A store of all that is kept by account."""


@pytest.fixture(params=["memory", "redis", pytest.param("cluster", marks=pytest.mark.slow)])
async def stores(
    request: pytest.FixtureRequest, unique: Callable[[], str]
) -> AsyncIterator[tuple[Store, TokenLeaseStore]]:
    if request.param == "memory":
        memory = MemoryAccountStore(WallClock())
        yield memory, memory
        return
    url, prefix = request.getfixturevalue(f"{request.param}_url"), f"{unique()}:"
    redis = RedisAccountStore(url, prefix=prefix, deadline_s=5.0)
    leases = RedisTokenLeases(url, prefix, 5.0)
    await redis.open()
    yield redis, leases
    await redis.close()
    await leases.close()


def gate_over(stores: tuple[Store, TokenLeaseStore], limits: ClassLimits, name: str = "g") -> LeasedGate:
    store, leases = stores
    store.expect((limits,))
    return LeasedGate(store, leases, store, limits, name)


async def left(gate: LeasedGate, store: Store) -> tuple[int, int]:
    """How many uploads the platform has room for: by the gate, and in the bucket alone."""
    whole, bucket = await gate.takes.peek(gate.request("peek")), await store.peek(gate.request("peek"))
    now_us = whole.result.now_us
    return whole.rooms[-1].left(now_us), bucket.rooms[-1].left(now_us)


async def test_uploads_get_tokens_that_were_debited_before_and_all_gates_together_let_in_exactly_the_burst(
    stores: tuple[Store, TokenLeaseStore],
) -> None:
    gate, other = (gate_over(stores, leased_class(PLATFORM), name) for name in ("g", "h"))
    await gate.upload(*range(50))

    await gate.renew()
    room = await left(gate, stores[0])
    held = (await gate.takes.peek(gate.request("peek"))).rooms[-1].held
    later = await gate.upload(*range(50, 100))
    room_later = await left(gate, stores[0])
    rest = [*await other.upload(*range(150)), *await gate.upload(*range(100, 200))]

    assert room == (250, 200)
    assert held == 50
    assert room_later == (200, 200)
    assert [result.charged for result in later] == [True] * 50
    assert gate.counts.lease_takes == {"lease": 50, "bucket": 150}
    assert sum(result.charged for result in rest) == 200
    refusals = [result.refusal for result in rest if result.refusal is not None]
    assert {refusal.limit for refusal in refusals} == {"platform.uploads"}
    assert all(refusal.retry_after_us for refusal in refusals)


async def test_a_policy_of_many_classes_and_kinds_whose_limits_are_leased_and_reserved_is_taken_from(
    stores: tuple[Store, TokenLeaseStore],
) -> None:
    names, kinds = [f"class-{n}" for n in range(5)], [f"kind-{n}" for n in range(10)]
    common = Mode.ENFORCE, OnStoreError.LOCAL, dict.fromkeys(names, SLOW)
    reserved = dict.fromkeys(names, 0.1)
    limits = [
        *(LimitRule(kind, Subject.ACCOUNT, Unit.UPLOADS, *common, frozenset({kind})) for kind in kinds),
        LimitRule("platform.uploads", Subject.PLATFORM, Unit.UPLOADS, *common, lease=20, reserved=reserved),
        LimitRule("platform.bytes", Subject.PLATFORM, Unit.BYTES, *common, lease=20, reserved=reserved),
    ]
    thresholds = dict.fromkeys(names, Thresholds())
    policy = replace(
        load_policy(None), classes=tuple(names), default_class=names[0], thresholds=thresholds, limits=tuple(limits)
    )
    takes = LeasedTakes(stores[0], stores[1], Counts(), lambda: 1, lambda: 0)
    takes.expect(policy.class_limits)
    some = [*policy.class_limits[::7], *takes.remaining[::29]]

    alone = [
        await stores[0].take(TakeRequest(f"a-{n}", "u", each, class_=each.name, attempt=1))
        for n, each in enumerate(some)
    ]
    together = await stores[0].take_many(
        [TakeRequest(f"b-{n}", "u", each, class_=each.name, attempt=1) for n, each in enumerate(some)]
    )

    assert len(policy.class_limits) + len(takes.remaining) == 300
    assert [each.charged for each in (*alone, *together) if isinstance(each, TakeResult)] == [True] * 2 * len(some)


@pytest.mark.parametrize("outcome", [UploadOutcome.FAILED, UploadOutcome.ABORTED])
async def test_an_upload_that_did_not_happen_gives_back_to_the_lease_once(
    stores: tuple[Store, TokenLeaseStore], outcome: UploadOutcome
) -> None:
    gate = gate_over(stores, leased_class(PLATFORM, BYTES))
    await gate.upload(*range(50), size=10)
    await gate.renew()
    before = gate.held_us
    await gate.upload("last", size=10)

    between = gate.held_us
    await gate.report("last", outcome)
    await gate.report("last", outcome)

    assert before - between == PLATFORM.unit_us + BYTES.cost_us(10)
    assert gate.held_us == before


async def test_a_lease_on_bytes_counts_the_real_size(stores: tuple[Store, TokenLeaseStore]) -> None:
    gate = gate_over(stores, leased_class(BYTES))
    await gate.upload(*range(50), size=10)
    await gate.renew()
    before = gate.held_us
    await gate.upload("small", "large", size=10)

    await gate.report("small", UploadOutcome.COMMITTED, 4)
    await gate.report("large", UploadOutcome.COMMITTED, 25)

    assert before - gate.held_us == BYTES.cost_us(29)


async def test_an_upload_that_another_limit_refuses_or_that_was_answered_before_takes_nothing_from_the_lease(
    stores: tuple[Store, TokenLeaseStore],
) -> None:
    gate = gate_over(stores, leased_class(PLATFORM, own=(OWN,)))
    await gate.upload(*range(50))
    await gate.renew()
    first = await gate.upload(*(f"x{n}" for n in range(5)), account="x")
    before = gate.held_us

    again, refused = await gate.upload("x0", "x5", account="x")

    assert [result.charged for result in first] == [True] * 5
    assert (again.charged, again.repeated) == (True, True)
    assert refused.refusal is not None
    assert refused.refusal.limit == "account.uploads"
    assert gate.held_us == before
    assert gate.takes.leases[0].out_us == 0


async def test_a_check_that_the_store_sends_again_because_its_reply_was_lost_uses_what_the_lease_gave_once(
    stores: tuple[Store, TokenLeaseStore],
) -> None:
    class LosesReplies:
        """A store whose replies are all lost once."""

        expect, peek = stores[0].expect, stores[0].peek

        async def take(self, request: TakeRequest) -> TakeResult:
            await stores[0].take(request)
            return await stores[0].take(request)

        async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
            await stores[0].take_many(requests)
            return await stores[0].take_many(requests)

    gate = LeasedGate(LosesReplies(), stores[1], stores[0], leased_class(PLATFORM))
    await gate.upload(*range(50))
    await gate.renew()

    results = [*await gate.upload("a", "b"), await gate.takes.take(gate.request("c"))]
    held_us = gate.held_us
    await gate.report("a", UploadOutcome.FAILED)
    (again,) = await gate.upload("b")

    assert [(result.charged, result.resent) for result in results] == [(True, True)] * 3
    assert (again.charged, again.repeated, again.resent) == (True, True, False)
    assert held_us == 47 * PLATFORM.unit_us
    assert gate.held_us == 48 * PLATFORM.unit_us


async def test_a_gate_that_stops_gives_its_lease_back_and_one_that_dies_takes_it_along(
    stores: tuple[Store, TokenLeaseStore],
) -> None:
    stopping, dying, other = (gate_over(stores, leased_class(PLATFORM), name) for name in ("s", "d", "o"))
    for gate in (stopping, dying):
        await gate.upload(*range(50))
        await gate.renew()

    await stopping.takes.give_all_back()
    rest = await other.upload(*range(300))

    assert stopping.held_us == 0
    assert sum(result.charged for result in rest) == 300 - 2 * 50 - 50


async def test_an_idle_gate_gives_its_lease_back(stores: tuple[Store, TokenLeaseStore]) -> None:
    gate = gate_over(stores, leased_class(PLATFORM))
    await gate.upload(*range(50))
    await gate.renew()

    for _ in range(4):
        await gate.renew()

    assert gate.held_us == 0
    assert await left(gate, stores[0]) == (250, 250)


async def test_an_upload_gives_back_to_its_lease_where_redis_has_lost_the_limits_behind_the_tags(
    redis_url: str, unique: Callable[[], str]
) -> None:
    prefix = f"{unique()}:"
    store, reservations = RedisAccountStore(redis_url, prefix, 5.0), RedisReservationStore(redis_url, prefix, 5.0)
    leases, line = RedisTokenLeases(redis_url, prefix, 5.0), Line(redis_url)
    limits = leased_class(PLATFORM)
    await store.open()
    gate = LeasedGate(store, leases, store, limits)
    reports = Reports(reservations, gate.counts, leases=gate.takes)
    reports.expect((limits,))
    await gate.upload(*range(50))
    await gate.renew()
    await gate.upload("a")
    before_us = gate.held_us

    await line.delete([f"{prefix}2limits".encode()], 5.0)
    (settled,) = await reports.settle([Report("g-a", "u-g-a", UploadOutcome.FAILED)])
    for each in (store, reservations, leases, line):
        await each.close()

    assert isinstance(settled, Settlement)
    assert settled.settled is SettledAs.SETTLED
    assert gate.held_us - before_us == PLATFORM.unit_us


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_settlement_whose_reply_is_lost_returns_to_the_lease_once(
    redis_url: str, unique: Callable[[], str], is_late: bool
) -> None:
    prefix, port = f"{unique()}:", free_port()
    store = RedisAccountStore(redis_url, prefix, 5.0)
    leases, limits = RedisTokenLeases(redis_url, prefix, 5.0), leased_class(PLATFORM)
    reservations = RedisReservationStore(f"redis://127.0.0.1:{port}/0", prefix, 0.3 if is_late else 5.0)
    await store.open()
    gate = LeasedGate(store, leases, store, limits)
    reports = Reports(reservations, gate.counts, leases=gate.takes)
    reports.expect((limits,))
    failed = Report("g-a", "u-g-a", UploadOutcome.FAILED)
    await gate.upload(*range(50))
    await gate.renew()
    await gate.upload("a", "b")
    await gate.report("b", UploadOutcome.COMMITTED)  # the server knows the script from now on

    async with LosesReplies(
        port, int(redis_url.rsplit(":", 1)[1].split("/")[0]), b"EVALSHA", 1 + is_late, drops=not is_late
    ) as proxy:
        (lost,) = await reports.settle([failed])
        held_us = gate.held_us
        for _ in range(2):
            await reports.stop()
        (again,) = await reports.settle([failed])
        await reservations.close()
    for each in (store, leases):
        await each.close()

    assert proxy.lost == 1 + is_late
    assert isinstance(again, Settlement)
    assert again.settled is SettledAs.REPEATED
    assert isinstance(lost, StoreUnavailable if is_late else Settlement)
    assert held_us == (48 if is_late else 49) * PLATFORM.unit_us
    assert gate.held_us == 49 * PLATFORM.unit_us


async def test_settlements_that_were_found_return_to_the_lease_although_the_next_ones_cannot_be_looked_up(
    redis_url: str, unique: Callable[[], str]
) -> None:
    prefix, port, redis_port = f"{unique()}:", free_port(), int(redis_url.rsplit(":", 1)[1].split("/")[0])
    store = RedisAccountStore(redis_url, prefix, 5.0)
    leases, limits = RedisTokenLeases(redis_url, prefix, 5.0), leased_class(PLATFORM)
    reservations = RedisReservationStore(f"redis://127.0.0.1:{port}/0", prefix, 0.5)
    await store.open()
    gate = LeasedGate(store, leases, store, limits)
    reports = Reports(reservations, gate.counts, leases=gate.takes)
    reports.expect((limits,))
    await gate.upload(*range(MOST_AT_ONCE + 10))
    await gate.renew()
    names = [f"more-{n}" for n in range(MOST_AT_ONCE + 1)]
    await gate.upload(*names, "last")
    await gate.report("last", UploadOutcome.COMMITTED)  # the server knows the script from now on
    failed = [Report(f"g-{name}", f"u-g-{name}", UploadOutcome.FAILED) for name in names]
    before_us, returned = gate.held_us, list[float]()

    async with LosesReplies(port, redis_port, b"EVALSHA", 4, drops=True):
        lost = [*await reports.settle(failed[:MOST_AT_ONCE]), *await reports.settle(failed[MOST_AT_ONCE:])]
    async with LosesReplies(port, redis_port, b"MGET", 2, drops=False, kept=1):
        for _ in range(3):
            await reports.stop()
            returned.append((gate.held_us - before_us) / PLATFORM.unit_us)
    for each in (reservations, store, leases):
        await each.close()

    assert all(isinstance(each, StoreUnavailable) for each in lost)
    assert returned == [MOST_AT_ONCE, MOST_AT_ONCE + 1, MOST_AT_ONCE + 1]


async def test_a_value_of_another_kind_at_the_key_of_one_bucket_keeps_no_tokens_from_the_leases_of_others(
    redis_url: str, unique: Callable[[], str]
) -> None:
    prefix = f"{unique()}:"
    leases, line = RedisTokenLeases(redis_url, prefix, 5.0), Line(redis_url)
    await line.execute(b"LPUSH", f"{prefix}2b:platform", b"x", within_s=5.0)

    met = await leases.exchange(
        [Exchange("class:new", PLATFORM, PLATFORM.unit_us), Exchange("platform", PLATFORM, PLATFORM.unit_us)]
    )
    await leases.close()
    await line.close()

    assert [each.us for each in met if isinstance(each, Exchanged)] == [PLATFORM.unit_us] * 2


async def test_a_raid_of_one_class_leaves_another_the_part_that_is_reserved_for_it(
    stores: tuple[Store, TokenLeaseStore],
) -> None:
    rule = LimitRule(
        "platform.uploads", Subject.PLATFORM, Unit.UPLOADS, Mode.ENFORCE, OnStoreError.LOCAL,
        {"new": SLOW, "trusted": SLOW}, lease=40, reserved={"trusted": 0.2},
    )  # fmt: skip
    raid, trusted = (
        gate_over(stores, leased_class(*rule.limits_of(name), name=name), name) for name in ("new", "trusted")
    )
    for gate in (raid, trusted):
        await gate.upload(*range(20))
        await gate.renew()

    of_raid = await raid.upload(*range(20, 400))
    of_trusted = await trusted.upload(*range(20, 100))
    passed = [n for n, result in enumerate(of_trusted, 20) if result.charged]
    await trusted.report(20, UploadOutcome.FAILED)
    await trusted.report(passed[-1], UploadOutcome.ABORTED)
    later = await trusted.upload("a", "b", "c")
    of_raid_later = await raid.upload("a")

    assert 20 + sum(result.charged for result in of_raid) == 240
    assert 20 + sum(result.charged for result in of_trusted) == 60
    assert trusted.counts.lease_takes["lease"] >= 20
    assert [result.charged for result in later] == [True, True, False]
    assert [result.charged for result in of_raid_later] == [False]
    assert {result.refusal.limit for result in (*of_raid, *of_trusted) if result.refusal} == {"platform.uploads"}


async def test_an_exchange_says_whether_the_server_may_have_carried_it_out(
    redis_url: str, unique: Callable[[], str]
) -> None:
    port = free_port()
    leases = RedisTokenLeases(f"redis://127.0.0.1:{port}/0", f"{unique()}:", 0.2)
    wanted = [Exchange("platform", PLATFORM, PLATFORM.unit_us)]

    (nobody_there,) = await leases.exchange(wanted)
    async with FaultProxy(port, int(redis_url.rsplit(":", 1)[1].split("/")[0])) as proxy:
        await leases.exchange(wanted)
        proxy.delay_to_client_s = 1.0
        (lost,) = await leases.exchange(wanted)
    await leases.close()

    assert isinstance(nobody_there, StoreUnavailable)
    assert isinstance(lost, StoreUnavailable)
    assert (nobody_there.may_have_run, lost.may_have_run) == (False, True)


async def test_an_exchange_whose_answer_is_lost_is_carried_out_once_and_its_tokens_are_given_to_nobody(
    redis_url: str, unique: Callable[[], str]
) -> None:
    prefix, port = f"{unique()}:", free_port()
    store = RedisAccountStore(redis_url, prefix=prefix, deadline_s=5.0)
    leases = RedisTokenLeases(f"redis://127.0.0.1:{port}/0", prefix, 1.0)
    await store.open()
    gate = gate_over((store, leases), leased_class(PLATFORM))

    async def has_left(count: int) -> bool:
        return (await left(gate, store))[1] == count

    async with FaultProxy(port, int(redis_url.rsplit(":", 1)[1].split("/")[0])) as proxy:
        await leases.exchange([Exchange("platform", PLATFORM, PLATFORM.unit_us)])  # it is connected from now on
        await gate.upload(*range(50))
        proxy.delay_to_client_s = 5.0
        await gate.renew()
        await eventually(lambda: has_left(300 - 1 - 50 - 50))
        held_after_a_lost_draw = gate.held_us
        proxy.delay_to_client_s = 0.0
        await gate.upload(*range(50, 100))
        await gate.renew(2 * SECOND_US)
        await eventually(lambda: has_left(300 - 1 - 50 - 50 - 50 - 25))
        proxy.delay_to_client_s = 5.0
        await gate.takes.give_all_back()
        await eventually(lambda: has_left(300 - 1 - 50 - 50 - 50))
        await store.close()
        await leases.close()

    assert held_after_a_lost_draw == 0
    assert gate.held_us == 0
    assert gate.counts.lease_exchanges == {"drawn": 1, "given_back": 0, "failed": 2}
