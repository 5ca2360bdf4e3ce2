"""Takes from leases, where the store fails, callers go away and policies change."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gate.app import leased_takes
from gate.app.without_store import WithoutStore
from gate.core.limits.leased_class import MOST_WAYS
from gate.core.limits.leased_class import leased_class as ways_of
from gate.core.limits.limit import Limit, Rate
from gate.core.limits.reservation import UploadOutcome
from gate.core.limits.take import ClassLimits, Peek, TakeRequest, TakeResult
from gate.core.limits.token_lease import Exchange, Exchanged, TokenLease
from gate.core.policy import LimitRule, Mode, OnStoreError, Policy, Subject, Unit
from gate.core.standing import UNKNOWN
from gate.errors import StoreUnavailable
from gate.policyfile import load_policy
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from tests.leased_gates import SECOND_US, LeasedGate, leased_class
from tests.take_requests import DAY_US, NOW_US
from tests.waiting import eventually

SLOW = Rate(300, 365 * DAY_US, 300)
PLATFORM = Limit("platform.uploads", SLOW, lease=40)
BYTES = Limit("platform.bytes", SLOW, by_bytes=True, lease=40)
NEW = leased_class(PLATFORM)


class Standstill:
    def now_us(self) -> int:
        return NOW_US


class FailingStore:
    """A store in memory. While `error` is set, its takes and exchanges fail with it. Exchanges that may have run have."""

    down: str | None = None

    def __init__(self) -> None:
        self.memory = MemoryAccountStore(Standstill())
        self.error: StoreUnavailable | None = None

    async def take(self, request: TakeRequest) -> TakeResult:
        if self.error is not None:
            raise self.error
        return await self.memory.take(request)

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        return [self.error if self.error is not None else await self.memory.take(request) for request in requests]

    async def peek(self, request: TakeRequest) -> Peek:
        return await self.memory.peek(request)

    async def exchange(self, wanted: Sequence[Exchange], now_us: int | None = None) -> list[Exchanged | Exception]:
        if self.error is not None and not self.error.may_have_run:
            return [self.error for _ in wanted]
        met = await self.memory.exchange(wanted, now_us)
        return met if self.error is None else [self.error for _ in wanted]

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Nothing is to be learned."""


def uploads(us: int) -> int:
    """A time as a number of uploads."""
    return us // PLATFORM.unit_us


def gate_over(store: FailingStore, limits: ClassLimits = NEW) -> LeasedGate:
    return LeasedGate(store, store, store.memory, limits)


async def with_a_lease(store: FailingStore, of: int = 40) -> LeasedGate:
    """A gate whose lease holds so many uploads."""
    gate = gate_over(store)
    await gate.upload(*(f"before {n}" for n in range(of)))
    await gate.renew()
    assert uploads(gate.held_us) == of
    return gate


@pytest.fixture
async def upload_from_a_lease() -> tuple[FailingStore, LeasedGate]:
    """A store, and a gate over it whose lease of bytes gave to the upload `a` of 2 bytes."""
    store = FailingStore()
    gate = gate_over(store, leased_class(BYTES))
    await gate.upload(*range(20), size=2)
    await gate.renew()
    await gate.upload("a", size=2)
    return store, gate


@pytest.mark.parametrize(("may_have_run", "left"), [(False, 40), (True, 38)])
async def test_an_upload_that_the_store_may_have_taken_keeps_what_the_lease_gave_and_any_other_gives_it_back(
    may_have_run: bool, left: int
) -> None:
    store = FailingStore()
    gate = await with_a_lease(store)
    store.error = StoreUnavailable("gone")
    store.error.may_have_run = may_have_run

    await gate.takes.take_many([gate.request("a")])
    with pytest.raises(StoreUnavailable):
        await gate.takes.take(gate.request("b"))

    assert uploads(gate.held_us) == left


async def test_a_caller_that_goes_away_may_have_got_what_the_lease_gave() -> None:
    class NeverAnswers(FailingStore):
        async def take(self, request: TakeRequest) -> TakeResult:
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    gate = await with_a_lease(NeverAnswers())
    waiting = asyncio.create_task(gate.takes.take(gate.request("a")))
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert uploads(gate.held_us) == 39
    assert gate.takes.leases[0].out_us == 0


async def test_tokens_of_a_lost_exchange_are_lost_and_the_lease_waits_before_the_next() -> None:
    store = FailingStore()
    gate = gate_over(store)
    await gate.upload(*range(40))
    store.error = StoreUnavailable("gone")
    store.error.may_have_run = True

    await gate.renew()
    store.error = None
    await gate.renew(300_000)
    lost = uploads(gate.held_us)
    await gate.upload(*range(40, 80))
    await gate.renew()

    assert lost == 0
    assert gate.counts.lease_exchanges == {"drawn": 1, "given_back": 0, "failed": 1}
    assert uploads(gate.held_us) == 40
    assert uploads(store.memory.tat_us("platform", PLATFORM.name) - NOW_US) == 40 + 40 + 40 + 40


async def test_what_a_lease_may_not_hold_goes_back_to_the_bucket() -> None:
    store = FailingStore()
    gate = await with_a_lease(store)
    await gate.upload("a", "b")
    await gate.renew(300_000)  # the uploads are few, and the lease is still full enough
    gate.takes.leases[0].held_us = 40 * PLATFORM.unit_us
    before_us = store.memory.tat_us("platform", PLATFORM.name)

    await gate.report("a", UploadOutcome.FAILED)
    held_us = gate.takes.leases[0].held_us
    await gate.renew(300_000)

    assert uploads(held_us) == 40
    assert uploads(before_us - store.memory.tat_us("platform", PLATFORM.name)) == 1


async def test_a_limit_that_a_new_policy_does_not_lease_is_given_back() -> None:
    store = FailingStore()
    gate = await with_a_lease(store)

    gate.takes.expect((leased_class(Limit(PLATFORM.name, PLATFORM.rate)),))
    await gate.renew(1)
    await gate.renew(1)

    assert gate.takes.leases == []
    assert uploads(store.memory.tat_us("platform", PLATFORM.name) - NOW_US) == 40


@pytest.mark.parametrize("goes_back", [True, False])
async def test_an_upload_that_got_from_a_lease_still_counts_where_a_new_policy_leases_nothing(
    goes_back: bool, upload_from_a_lease: tuple[FailingStore, LeasedGate]
) -> None:
    store, gate = upload_from_a_lease
    gate.takes.expect((leased_class(Limit(BYTES.name, BYTES.rate, by_bytes=True)),))
    await gate.renew(1)
    await gate.renew(1)

    none_left = gate.takes.leases
    await (gate.report("a", UploadOutcome.FAILED) if goes_back else gate.report("a", UploadOutcome.COMMITTED, 5))
    await gate.renew(1)
    await gate.renew(1)

    assert none_left == gate.takes.leases == []
    taken_us = store.memory.tat_us("platform", BYTES.name) - NOW_US
    assert taken_us == BYTES.cost_us(40) + (0 if goes_back else BYTES.cost_us(5))


@pytest.mark.parametrize(("may_have_run", "left"), [(True, 0), (False, 40)])
async def test_what_the_store_refuses_to_take_back_stays_in_the_lease(may_have_run: bool, left: int) -> None:
    store = FailingStore()
    gate = await with_a_lease(store)
    store.error = StoreUnavailable("out of memory")
    store.error.may_have_run = may_have_run

    for _ in range(3):
        await gate.renew()
    held, failed = uploads(gate.held_us), gate.counts.lease_exchanges["failed"]
    store.error = None
    for _ in range(3):
        await gate.renew()

    assert (held, failed) == (left, 1)
    assert gate.held_us == 0
    assert uploads(store.memory.tat_us("platform", PLATFORM.name) - NOW_US) == 40


async def test_what_an_upload_took_beyond_its_lease_is_drawn_before_the_gate_stops(
    upload_from_a_lease: tuple[FailingStore, LeasedGate],
) -> None:
    store, gate = upload_from_a_lease

    await gate.report("a", UploadOutcome.COMMITTED, 100)
    await gate.takes.give_all_back()

    assert store.memory.tat_us("platform", BYTES.name) - NOW_US == BYTES.cost_us(40 + 100)


async def test_what_an_upload_took_beyond_its_lease_is_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch, upload_from_a_lease: tuple[FailingStore, LeasedGate]
) -> None:
    monkeypatch.setattr(leased_takes, "EVERY_S", 600.0)
    store, gate = upload_from_a_lease
    running = asyncio.create_task(gate.takes.run())

    async def waits() -> bool:
        return not gate.takes._wake.is_set()

    await eventually(waits)

    async def is_drawn() -> bool:
        return gate.takes.leases[0].held_us >= 0

    await gate.report("a", UploadOutcome.COMMITTED, 100)
    before = gate.takes.leases[0].held_us
    await eventually(is_drawn)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert before < 0
    assert store.memory.tat_us("platform", BYTES.name) - NOW_US == BYTES.cost_us(40 + 100) + gate.held_us


async def test_what_is_drawn_while_the_gate_stops_is_given_back() -> None:
    class AnswersLate(FailingStore):
        def __init__(self) -> None:
            super().__init__()
            self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

        async def exchange(self, wanted: Sequence[Exchange], now_us: int | None = None) -> list[Exchanged | Exception]:
            met = await super().exchange(wanted, now_us)
            self.asked.set()
            await self.may_answer.wait()
            return met

    store = AnswersLate()
    gate = gate_over(store)
    await gate.upload(*range(40))
    gate.uptime_us = SECOND_US
    running = asyncio.create_task(gate.takes.run())
    await store.asked.wait()

    running.cancel()
    await asyncio.sleep(0)
    store.may_answer.set()
    await asyncio.gather(running, return_exceptions=True)
    held = uploads(gate.held_us)
    await gate.takes.give_all_back()

    assert (held, running.cancelled()) == (40, True)
    assert uploads(store.memory.tat_us("platform", PLATFORM.name) - NOW_US) == 40


async def test_what_a_check_got_that_never_reached_the_store_goes_back_also_where_a_new_policy_leases_nothing() -> None:
    class NeverHears(FailingStore):
        async def take(self, request: TakeRequest) -> TakeResult:
            lost = StoreUnavailable("no answer")
            lost.may_have_run = True
            raise lost

    store = NeverHears()
    gate = await with_a_lease(store)
    check = gate.request("a")
    with pytest.raises(StoreUnavailable):
        await gate.takes.take(check)
    gate.takes.expect((leased_class(Limit(PLATFORM.name, PLATFORM.rate)),))
    await gate.renew(1)
    await gate.renew(1)

    none_left = gate.takes.leases
    gate.takes.never_taken(check.attempt)
    await gate.renew(1)

    assert none_left == []
    assert uploads(store.memory.tat_us("platform", PLATFORM.name) - NOW_US) == 40


async def test_a_gate_counts_what_it_holds_of_each_limit_and_how_many_draws_found_the_bucket_nearly_empty() -> None:
    store = FailingStore()
    by_bytes = Limit("platform.bytes", Rate(1 << 40, 1 << 40, 1 << 40), by_bytes=True, lease=1 << 30)
    gate = gate_over(store, leased_class(PLATFORM, by_bytes))
    await gate.upload(*range(40), size=1 << 20)
    before = gate.takes.held()

    await gate.renew()
    held = gate.takes.held()
    await gate.upload(*range(40, 300), size=1 << 20)
    await gate.renew()

    assert before == {("platform", "platform.uploads"): 0, ("platform", "platform.bytes"): 0}
    assert held == {("platform", "platform.uploads"): 40, ("platform", "platform.bytes"): 40 << 20}
    assert gate.counts.lease_draws_scarce == 1
    assert gate.takes.held()["platform", "platform.uploads"] == 0


async def test_a_check_of_the_policy_before_leaves_a_lease_as_the_new_policy_wants_it() -> None:
    store = FailingStore()
    gate = await with_a_lease(store)
    smaller, none = replace(PLATFORM, lease=5), Limit("other", SLOW)
    gate.takes.expect((leased_class(smaller),))

    await gate.upload(*range(100, 120))
    await gate.renew()
    held = uploads(gate.held_us)
    gate.takes.expect((leased_class(none),))
    await gate.renew()
    await gate.upload(*range(200, 220))
    await gate.renew()

    assert held == 5
    assert gate.held_us == 0


async def test_few_uploads_and_small_limits_are_counted_one_by_one() -> None:
    store = FailingStore()
    few, small = gate_over(store), gate_over(store, leased_class(Limit("small", Rate(900, SECOND_US, 900), lease=None)))
    for gate, count in ((few, 15), (small, 500)):
        await gate.upload(*range(count))
        await gate.renew()
        await gate.upload(*range(count, 2 * count))

    assert few.held_us == small.held_us == 0
    assert few.counts.lease_takes["lease"] == small.counts.lease_takes["lease"] == 0
    assert few.counts.lease_exchanges["drawn"] == small.counts.lease_exchanges["drawn"] == 0


def test_a_class_with_many_reserved_limits_has_a_bounded_number_of_ways() -> None:
    pairs = [
        (Limit(f"{n} reserved", SLOW, lease=None, reserve_of=f"{n}"), Limit(f"{n}", SLOW, lease=None))
        for n in range(40)
    ]
    of = leased_class(*(limit for pair in pairs for limit in pair))

    leased = ways_of(of, lambda entity, limit: TokenLease(entity, limit, 0))

    assert leased is not None
    assert len(leased.ways) == MOST_WAYS


async def test_gates_with_few_uploads_get_their_part_of_a_limit_that_busy_gates_with_leases_exhaust() -> None:
    class Ticking:
        at_us = NOW_US

        def now_us(self) -> int:
            return self.at_us

    chance, clock, busy, slow = random.Random(1), Ticking(), range(40), range(40, 60)
    memory, scarce = MemoryAccountStore(clock), leased_class(Limit("scarce", Rate(600, SECOND_US, 600), lease=100))
    gates = [LeasedGate(memory, memory, memory, scarce, f"g{n}", len(busy) + len(slow)) for n in (*busy, *slow)]
    checked, passed = [0, 0], [0, 0]
    for tick in range(300):
        clock.at_us += 20_000
        for n in chance.sample([*busy, *slow], len(gates)):
            gates[n].uptime_us += 20_000
            count = sum(chance.random() < 0.3 for _ in range(2)) if n in busy else int(chance.random() < 0.04)
            found = await gates[n].upload(*(f"{tick}-{each}" for each in range(count))) if count else []
            if tick >= 150:
                checked[n in slow] += len(found)
                passed[n in slow] += sum(result.charged for result in found)
            if tick % 5 == n % 5:
                await gates[n].takes.renew()

    of_busy, of_slow = (each / of for each, of in zip(passed, checked, strict=True))

    assert of_busy < 0.7
    assert of_slow > of_busy / 2


def a_policy(mode: OnStoreError) -> Policy:
    rule = LimitRule(
        "platform.uploads", Subject.PLATFORM, Unit.UPLOADS, Mode.ENFORCE, mode, {"regular": PLATFORM.rate}, lease=40
    )
    return replace(load_policy(None), limits=(rule,))


async def test_while_the_store_is_away_a_closed_limit_lets_in_exactly_what_the_lease_holds() -> None:
    store = FailingStore()
    gate = await with_a_lease(store)
    without = WithoutStore(LocalBuckets, gate.takes)
    policy = a_policy(OnStoreError.CLOSED)

    results = [without.take(policy, gate.request(n), UNKNOWN, NOW_US) for n in range(50)]

    assert [result.charged for result in results] == [True] * 40 + [False] * 10
    assert {result.refusal.limit for result in results if result.refusal} == {"platform.uploads"}


async def test_while_the_store_is_away_a_lease_spares_an_upload_only_the_limit_that_it_holds_tokens_of() -> None:
    store, policy = FailingStore(), a_policy(OnStoreError.CLOSED)
    rest = replace(policy.limits[0], name="platform.rest", lease=0)
    gate = LeasedGate(store, store, store.memory, leased_class(PLATFORM, Limit("platform.rest", SLOW)))
    await gate.upload(*range(40))
    await gate.renew()

    result = WithoutStore(LocalBuckets, gate.takes).take(
        replace(policy, limits=(*policy.limits, rest)), gate.request("next"), UNKNOWN, NOW_US
    )

    assert (uploads(gate.held_us), result.charged) == (40, False)
    assert result.refusal is not None
    assert result.refusal.limit == "platform.rest"
