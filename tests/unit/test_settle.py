"""Tokens that are given back in the background, while a part of the store is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_fields

from gate.app.settle import Reports
from gate.app.without_store import WithoutStore
from gate.core.limits.limit import Limit, Rate
from gate.core.limits.reservation import Notice, Report, SettledAs, Settlement, Unanswered, UploadOutcome
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.policy import LimitRule, Mode, OnStoreError, Subject, Unit
from gate.core.standing import UNKNOWN
from gate.errors import StoreUnavailable
from gate.policyfile import load_policy
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from tests.leased_gates import LeasedGate, leased_class
from tests.take_requests import DAY_US, NOW_US
from tests.waiting import eventually

PLATFORM = Limit("platform.uploads", Rate(300, 365 * DAY_US, 300), lease=40)


class Standstill:
    def now_us(self) -> int:
        return NOW_US


class PartlyAway(MemoryAccountStore):
    """A store of which some accounts lie on a node that does not answer."""

    def __init__(self) -> None:
        super().__init__(Standstill())
        self.away: set[str] = set()

    async def settle(self, notices: Sequence[Notice], now_us: int | None = None) -> list[Settlement | Exception]:
        found: list[Settlement | Exception] = []
        for notice in notices:
            there = notice.account not in self.away
            found += await super().settle([notice]) if there else [StoreUnavailable("away")]
        return found


class Unheard(MemoryAccountStore):
    """A store whose answers are lost while `error` is set, and to which the checks of some accounts are lost, too."""

    def __init__(self) -> None:
        super().__init__(Standstill())
        self.error: StoreUnavailable | None = None
        self.loses: set[str] = set()

    async def take(self, request: TakeRequest) -> TakeResult:
        if self.error is not None and request.account in self.loses:
            raise self.error
        found = await super().take(request)
        if self.error is not None:
            raise self.error
        return found

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        return list(await asyncio.gather(*map(self.take, requests), return_exceptions=True))  # type: ignore[arg-type]


@asynccontextmanager
async def giving_back(reports: Reports) -> AsyncIterator[None]:
    task = asyncio.create_task(reports.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def with_a_lease(store: MemoryAccountStore) -> LeasedGate:
    """A gate whose lease holds 40 uploads."""
    gate = LeasedGate(store, store, store, leased_class(PLATFORM))
    await gate.upload(*range(40))
    await gate.renew()
    assert gate.held_us == 40 * PLATFORM.unit_us
    return gate


async def test_a_node_that_is_away_keeps_no_tokens_of_accounts_on_the_others() -> None:
    store = PartlyAway()
    gate = await with_a_lease(store)
    reports = Reports(store, gate.counts, every_s=0.01, leases=gate.takes)
    requests = [gate.request(name) for name in "abc"]
    await gate.takes.take_many(requests)
    store.away = {requests[0].account}
    for request in requests:
        reports.unanswered(Unanswered(request.account, request.upload_id, request.attempt))

    async def waits_for(count: int) -> bool:
        return reports.waiting == count

    async with giving_back(reports):
        await eventually(lambda: waits_for(1))
        while_away = gate.held_us
        store.away.clear()
        await eventually(lambda: waits_for(0))

    assert while_away == 39 * PLATFORM.unit_us
    assert gate.held_us == 40 * PLATFORM.unit_us


async def test_a_check_that_never_reached_the_store_gives_back_to_the_lease_and_one_that_did_gives_back_once() -> None:
    store = Unheard()
    gate = await with_a_lease(store)
    reports = Reports(store, gate.counts, every_s=0.01, look_again_s=0.02, leases=gate.takes)
    requests = [gate.request(name) for name in ("lost", "late", "lost too", "late too")]
    store.loses = {request.account for request in requests if "lost" in request.account}
    store.error = StoreUnavailable("no answer")
    store.error.may_have_run = True

    await gate.takes.take_many(requests[:2])
    for request in requests[2:]:
        with suppress(StoreUnavailable):
            await gate.takes.take(request)
    meanwhile = gate.held_us
    for request in requests:
        reports.unanswered(Unanswered(request.account, request.upload_id, request.attempt))

    async def is_settled() -> bool:
        return reports.waiting == 0

    async with giving_back(reports):
        await eventually(is_settled)

    assert meanwhile == 36 * PLATFORM.unit_us
    assert gate.held_us == 40 * PLATFORM.unit_us


async def test_a_check_whose_upload_another_check_took_for_gives_back_to_its_lease_and_no_other() -> None:
    store = Unheard()
    gate = await with_a_lease(store)
    other = LeasedGate(store, store, store, leased_class(PLATFORM))
    reports = Reports(store, gate.counts, every_s=0.01, look_again_s=0.02, leases=gate.takes)
    requests = [gate.request(name) for name in ("a", "b", "c")]
    retries = [replace_fields(each, attempt=each.attempt + 100) for each in requests]
    store.loses = {request.account for request in requests}
    store.error = StoreUnavailable("no answer")
    store.error.may_have_run = True
    await gate.takes.take_many(requests)
    store.error = None
    await other.takes.take_many(retries)
    meanwhile = gate.held_us

    for request in (*requests, requests[0]):
        reports.unanswered(Unanswered(request.account, request.upload_id, request.attempt))
    async with giving_back(reports):
        await eventually(lambda: _is_settled(reports))
    settled = await reports.settle([Report(requests[0].account, requests[0].upload_id, UploadOutcome.FAILED)])

    assert meanwhile == 37 * PLATFORM.unit_us
    assert gate.held_us == 40 * PLATFORM.unit_us
    assert [each.settled for each in settled if isinstance(each, Settlement)] == [SettledAs.SETTLED]
    assert store.tat_us("platform", PLATFORM.name) - NOW_US == (40 + 40 + 2) * PLATFORM.unit_us


async def _is_settled(reports: Reports) -> bool:
    return reports.waiting == 0


@pytest.mark.parametrize("mode", [OnStoreError.OPEN, OnStoreError.CLOSED])
async def test_an_upload_that_the_gate_lets_in_alone_after_its_check_failed_uses_the_lease_once(
    mode: OnStoreError,
) -> None:
    store = Unheard()
    gate = await with_a_lease(store)
    rule = LimitRule(
        "platform.uploads", Subject.PLATFORM, Unit.UPLOADS, Mode.ENFORCE, mode, {"regular": PLATFORM.rate}, lease=40
    )
    policy, without = replace(load_policy(None), limits=(rule,)), WithoutStore(LocalBuckets, gate.takes)
    request = gate.request("a")
    store.error = StoreUnavailable("no answer")
    store.error.may_have_run = True
    with suppress(StoreUnavailable):
        await gate.takes.take(request)

    alone = without.take(policy, request, UNKNOWN, NOW_US)

    assert alone.charged
    assert gate.held_us == 39 * PLATFORM.unit_us


async def test_a_gate_that_stops_gives_back_what_waits() -> None:
    store = PartlyAway()
    gate = await with_a_lease(store)
    reports = Reports(store, gate.counts, leases=gate.takes)
    requests = [gate.request(name) for name in "ab"]
    await gate.takes.take_many(requests)
    store.away = {requests[0].account}
    for request in requests:
        reports.unanswered(Unanswered(request.account, request.upload_id, request.attempt))

    await reports.stop()

    assert reports.waiting == 1
    assert gate.held_us == 39 * PLATFORM.unit_us
