"""The bound of leases: in any time w, n gates let in at most b + r·w + n·L, whatever gates and clocks do.

The bound follows from three laws that the machine holds after each step. Tokens in the bucket and in all leases together grow
only with the clock, and each upload takes its own from them. The bucket never holds more than b, a lease never more than L.
The bound itself is checked as well, over each window that ends with the last step.

The machine runs over the store in memory and over a real Redis. Its time is recorded: it steps as the rules say, also back.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from gate.core.limits.limit import Limit, Rate
from gate.core.limits.reservation import Notice, Report, Settlement, UploadOutcome
from gate.core.limits.take import ClassLimits
from gate.core.limits.token_lease import Exchange, Exchanged, most_held
from gate.ports.reservations import ReservationStore
from gate.ports.token_leases import TokenLeaseStore
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.token_leases import RedisTokenLeases
from tests.leased_gates import SECOND_US, LeasedGate, leased_class
from tests.take_requests import NOW_US, AccountStore

PLATFORM = Limit("platform.uploads", Rate(50, SECOND_US, 200), lease=20)
NEW = leased_class(PLATFORM)
GATES = 3
BURST_US, LEASE_US, COST_US = PLATFORM.tolerance_us, most_held(PLATFORM, GATES), PLATFORM.unit_us


class Store(AccountStore, ReservationStore, Protocol):
    """A store of all that is kept by account."""


class SteppedClock:
    """The recorded time. `forward_us` is how far it has gone forward in all."""

    def __init__(self) -> None:
        self.at_us = NOW_US
        self.forward_us = 0

    def now_us(self) -> int:
        return self.at_us

    def step(self, us: int) -> None:
        self.at_us += us
        self.forward_us += max(0, us)


class AtClock:
    """Leases and reports at the recorded time."""

    def __init__(self, leases: TokenLeaseStore, reservations: ReservationStore, clock: SteppedClock) -> None:
        self._leases, self._reservations, self._clock = leases, reservations, clock

    async def exchange(self, wanted: Sequence[Exchange], now_us: int | None = None) -> list[Exchanged | Exception]:
        return await self._leases.exchange(wanted, self._clock.now_us())

    async def settle(self, notices: Sequence[Notice], now_us: int | None = None) -> list[Settlement | Exception]:
        return await self._reservations.settle(notices, self._clock.now_us())

    async def unheard(self, older_than_s: float) -> list[Any]:
        return []

    async def due(self, most: int, now_us: int | None = None) -> list[Any]:
        return []

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Nothing is to be learned."""


class Gates(RuleBasedStateMachine):
    """Some gates that share a bucket in memory; what they let in is written down with the time of the store."""

    gates = st.integers(0, GATES - 1)

    def __init__(self) -> None:
        super().__init__()
        self.clock = SteppedClock()
        self.loop = asyncio.new_event_loop()
        self.store, self.leases = self.opened()
        self.at_clock = AtClock(self.leases, self.store, self.clock)
        self.made = 0
        self.alive = [self.new_gate() for _ in range(GATES)]
        self.log: list[tuple[int, int]] = []
        """How far the clock had gone forward, and what was let in then (below 0: given back), as time."""
        self.let_in: list[tuple[LeasedGate, str]] = []
        self.uploads = 0

    def opened(self) -> tuple[Store, TokenLeaseStore]:
        memory = MemoryAccountStore(self.clock)
        return memory, memory

    def run(self, what: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(what)

    def new_gate(self) -> LeasedGate:
        self.made += 1
        return LeasedGate(self.store, self.at_clock, self.at_clock, NEW, f"g{self.made}", GATES, self.clock)

    def bucket_us(self) -> int:
        """The room in the bucket, as time."""
        request = replace(self.alive[0].request("peek"), now_us=self.clock.now_us())
        (room,) = self.run(self.store.peek(request)).rooms
        return min(BURST_US, max(0, BURST_US - (room.full_at_us - self.clock.now_us())))

    def all_us(self) -> int:
        """What the bucket and all leases hold together."""
        return int(self.bucket_us()) + sum(gate.held_us for gate in self.alive)

    @rule(gate=gates, count=st.sampled_from((1, 16, 20, 40)), renews=st.booleans())
    def upload(self, gate: int, count: int, renews: bool) -> None:
        names = [f"{self.uploads + n}" for n in range(count)]
        self.uploads += count
        before_us = self.all_us()

        results = self.run(self.alive[gate].upload(*names))

        passed = [name for name, result in zip(names, results, strict=True) if result.charged]
        assert before_us - self.all_us() == len(passed) * COST_US
        self.let_in += [(self.alive[gate], name) for name in passed]
        if passed:
            self.log.append((self.clock.forward_us, len(passed) * COST_US))
        if renews:
            self.renew(gate, SECOND_US)

    @rule(gate=gates, us=st.sampled_from((300_000, SECOND_US, 4 * SECOND_US)))
    def renew(self, gate: int, us: int) -> None:
        before_us = self.all_us()

        self.run(self.alive[gate].renew(us))

        assert self.all_us() <= before_us

    @rule(us=st.integers(SECOND_US, 3 * SECOND_US))
    def time_passes(self, us: int) -> None:
        before_us = self.all_us()

        self.clock.step(us)

        assert self.all_us() <= before_us + us

    @rule(us=st.sampled_from((1_000_000, 5_000_000, 80_000_000)))
    def clock_steps_back(self, us: int) -> None:
        before_us = self.all_us()

        self.clock.step(-us)

        assert self.all_us() <= before_us

    @rule(gate=gates, dies=st.booleans())
    def stop(self, gate: int, dies: bool) -> None:
        before_us = self.all_us()

        if not dies:
            self.run(self.alive[gate].takes.give_all_back())

        assert self.all_us() <= before_us
        self.alive[gate] = self.new_gate()

    @rule(gate=gates, count=st.sampled_from((1, 20)))
    def last_uploads_fail(self, gate: int, count: int) -> None:
        before_us, failed = self.all_us(), self.let_in[-count:]
        del self.let_in[-count:]

        for by, upload in failed:
            report = Report(f"{by.name}-{upload}", f"u-{by.name}-{upload}", UploadOutcome.FAILED)
            (settled,) = self.run(self.at_clock.settle([report]))
            self.alive[gate].takes.put_back(settled.leased)

        assert self.all_us() <= before_us + len(failed) * COST_US
        if failed:
            self.log.append((self.clock.forward_us, -len(failed) * COST_US))

    @invariant()
    def no_window_lets_in_more_than_the_bound(self) -> None:
        let_in = 0
        for forward_us, cost_us in reversed(self.log):
            let_in += cost_us
            assert let_in <= BURST_US + (self.clock.forward_us - forward_us) + GATES * LEASE_US

    @invariant()
    def no_lease_holds_more_than_it_may(self) -> None:
        for gate in self.alive:
            for lease in gate.takes.leases:
                assert lease.out_us == 0
                assert lease.held_us <= LEASE_US

    def teardown(self) -> None:
        self.loop.close()


def test_gates_over_the_store_in_memory_keep_to_the_bound() -> None:
    run_state_machine_as_test(Gates, settings=settings(max_examples=60, stateful_step_count=40))


def test_gates_over_redis_keep_to_the_bound(redis_url: str) -> None:
    class GatesOverRedis(Gates):
        def opened(self) -> tuple[Store, TokenLeaseStore]:
            prefix = f"lease-laws-{uuid.uuid4().hex[:8]}:"
            redis = RedisAccountStore(redis_url, prefix=prefix, deadline_s=5.0)
            self.run(redis.open())
            return redis, RedisTokenLeases(redis_url, prefix, 5.0)

        def teardown(self) -> None:
            assert isinstance(self.store, RedisAccountStore)
            assert isinstance(self.leases, RedisTokenLeases)
            self.run(self.store.close())
            self.run(self.leases.close())
            super().teardown()

    run_state_machine_as_test(GatesOverRedis, settings=settings(max_examples=8, stateful_step_count=25))


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_full_leases_over_a_full_bucket_let_in_exactly_the_bound(kind: str, redis_url: str) -> None:
    clock, prefix = SteppedClock(), f"lease-laws-{uuid.uuid4().hex[:8]}:"
    memory = MemoryAccountStore(clock)
    redis, redis_leases = RedisAccountStore(redis_url, prefix, 5.0), RedisTokenLeases(redis_url, prefix, 5.0)
    await redis.open()
    store: Store = memory if kind == "memory" else redis
    leases = AtClock(memory if kind == "memory" else redis_leases, store, clock)
    gates = [LeasedGate(store, leases, store, NEW, f"g{n}", GATES, clock) for n in range(GATES)]
    for gate in gates:
        await gate.upload(*range(20))
        clock.step(SECOND_US)
        await gate.renew()
    clock.step(2 * SECOND_US)

    at_once = [sum(result.charged for result in await gate.upload(*range(20, 320))) for gate in gates]
    clock.step(SECOND_US)
    a_second_later = [sum(result.charged for result in await gate.upload(*range(320, 420))) for gate in gates]
    await redis.close()
    await redis_leases.close()

    assert [gate.held_us for gate in gates] == [0, 0, 0]
    assert at_once == [20 + 200, 20, 20]
    assert sum(a_second_later) == 50


@pytest.mark.parametrize(("gates", "most"), [(1, 1_000), (6, 1_000), (10, 600), (60, 100), (61, 0)])
def test_by_default_all_gates_hold_a_tenth_of_the_burst_and_none_more_than_a_second_or_less_than_100(
    gates: int, most: int
) -> None:
    limit = Limit("class.uploads", Rate(60_000, 60 * SECOND_US, 60_000), lease=None)

    assert most_held(limit, gates) == most * limit.unit_us
