"""What gives tokens back in the background, where some of the store is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from leased_gates import LeasedGate, leased_class
from take_requests import DAY_US, NOW_US
from waiting import eventually

from gate.app.settle import Reports
from gate.core.limits.limit import Limit, Rate
from gate.core.limits.reservation import Notice, Settlement, Unanswered
from gate.errors import StoreUnavailable
from gate.stores.memory.accounts import MemoryAccountStore

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
