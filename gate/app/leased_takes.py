"""Takes tokens of limits on a class or the platform from this gate's leases, without a call of the store.

`LeasedTakes` stands before a TakeStore. Where this gate's leases of the shared buckets hold enough, a check gets its
tokens from them, and the store takes from the other buckets alone. If the store lets the upload in, its reservation
names the tokens that came from leases; else they go back to the leases. Where a lease has run dry, the store takes from
the shared buckets as well, so every refusal, with its retry-after, comes from the buckets.

`run` renews the leases beside the checks, from a TokenLeaseStore. `gate.core.limits.token_lease` decides how much they hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from gate.core.limits.leased_class import LeasedBatch, LeasedClass, LeasedWay, leased_class
from gate.core.limits.limit import Limit, Rate, Room
from gate.core.limits.reservation import Change
from gate.core.limits.take import ClassLimits, Peek, TakeRequest, TakeResult
from gate.core.limits.token_lease import Exchange, Exchanged, TokenLease, most_held
from gate.core.make_room import make_room
from gate.errors import StoreUnavailable
from gate.metrics import Counts
from gate.ports.takes import TakeStore
from gate.ports.token_leases import TokenLeaseStore

EVERY_S: Final = 1.0
"""The longest time between two looks at the leases."""
AT_LEAST_S: Final = 0.02
"""The shortest time between two looks."""
MOST_OTHERS: Final = 512
"""Limits of classes beside those of the policy that are kept, such as those during a pause by risk."""

MOST_UNSURE: Final = 10_000
"""Failed checks that are remembered because the store may have taken for them; what older ones got counts as used."""

Key = tuple[str, str, Rate]
"""A bucket and the rate of the class that takes from it: entity, limit, rate."""

Given = tuple[LeasedWay, tuple[int, ...]]
"""The leases that gave tokens to one upload, and how many."""


class LeasedTakes:
    """A TakeStore that takes from leases where it can; between `run` and its end it renews them.

    `gates` tells how many gates there are, from the first renewal on; `uptime_us` the time of a clock that never steps.
    """

    def __init__(
        self,
        takes: TakeStore,
        leases: TokenLeaseStore,
        counts: Counts,
        gates: Callable[[], int],
        uptime_us: Callable[[], int],
    ) -> None:
        self._takes = takes
        self._store = leases
        self._counts = counts
        self._taken = counts.lease_takes
        self._gates = gates
        self._known_gates = 1
        self._uptime_us = uptime_us
        self._leases: dict[Key, TokenLease] = {}
        self._classes: dict[ClassLimits, LeasedClass | None] = {}
        self._expected = 0
        """How many of the classes are the policy's. They come first."""
        self._shared: dict[tuple[str, str], Limit] = {}
        """All limits of the policy in force on what classes share, by entity, and by name and by id."""
        self._in_force: set[Limit] = set()
        self._wanted: set[Key] = set()
        """The leases of the policy in force."""
        self._unsure: dict[int, Given] = {}
        """The tokens of failed checks that the store may have taken for, by the number of the check."""
        self._wake = asyncio.Event()
        self.remaining: Sequence[ClassLimits] = ()
        """The classes of the policy in force as the store sees those whose tokens come from leases."""

    @property
    def leases(self) -> list[TokenLease]:
        """What this gate holds."""
        return list(self._leases.values())

    def held(self) -> dict[tuple[str, str], int]:
        """How many units this gate holds, by entity and limit. The reserved part of a class is a limit of its own."""
        found: dict[tuple[str, str], int] = {}
        for lease in self._leases.values():
            key = lease.entity, lease.limit.name
            found[key] = found.get(key, 0) + lease.held
        return found

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """See TakeStore. Leases that none of the classes has are given back."""
        self._classes.clear()
        shared = [(each.entity, limit) for of in classes for each in of.shared for limit in each.limits.limits]
        self._shared = {(entity, name): limit for entity, limit in shared for name in (limit.name, limit.id.hex())}
        self._in_force = {limit for _, limit in shared}
        self._expected = len(classes)
        self._wanted.clear()
        leased = [self._learn(each) for each in classes]
        self.remaining = [way.remaining for each in leased if each is not None for way in each.ways]
        self._takes.expect((*classes, *self.remaining))

    @property
    def down(self) -> str | None:
        """See TakeStore."""
        return self._takes.down

    async def take(self, request: TakeRequest) -> TakeResult:
        """See TakeStore."""
        lent = self.give(request)
        if lent is None:
            return await self._takes.take(request)
        remaining, given = lent
        try:
            result = await self._takes.take(replace(request, class_limits=remaining))
        except Exception as error:
            self._failed(request, given, may_have_run=getattr(error, "may_have_run", False))
            raise
        except asyncio.CancelledError:
            self._failed(request, given, may_have_run=True)
            raise
        self.settle(given, was_used=result.took_now)
        return given[0].told(result)

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        """See TakeStore. Uploads of one class get their tokens at once, as that costs a fraction of one by one."""
        if not self._leases:  # the policy leases nothing
            return await self._takes.take_many(requests)
        counts: dict[ClassLimits, int] = {}
        for request in requests:
            limits = request.class_limits
            counts[limits] = counts.get(limits, 0) + 1
        alone: set[ClassLimits] = set()
        bulks = {limits: self._give_many(limits, count, alone) for limits, count in counts.items()}
        given: list[LeasedBatch | Given | None] = [bulks[request.class_limits] for request in requests]
        sent = [
            request if (bulk := bulks[request.class_limits]) is None else replace(request, class_limits=bulk.remaining)
            for request in requests
        ]
        for n, request in enumerate(requests if alone else ()):
            if request.class_limits in alone and (lent := self.give(request)) is not None:
                remaining, given[n] = lent
                sent[n] = replace(request, class_limits=remaining)
        try:
            results = await self._takes.take_many(sent)
        except BaseException:
            for each, request in zip(given, requests, strict=True):
                self._failed(request, each, may_have_run=True)
            self._settle_bulks(bulks.values())
            raise
        for n, (each, result) in enumerate(zip(given, results, strict=True)):
            if result.__class__ is not TakeResult:
                self._failed(requests[n], each, may_have_run=getattr(result, "may_have_run", False))
            elif each.__class__ is LeasedBatch and result.charged and (not result.repeated or result.resent):
                each.used += 1
                results[n] = each.told(result)
            elif each is not None:
                self._settle_one(each, was_used=result.took_now)
                results[n] = each[0].told(result) if isinstance(each, tuple) else result
        self._settle_bulks(bulks.values())
        return results

    def _failed(self, request: TakeRequest, given: LeasedBatch | Given | None, *, may_have_run: bool) -> None:
        """Note that a check failed after it got tokens. If the store may have taken for it, they count as used for now."""
        self._settle_one(given, was_used=may_have_run)
        if given is not None and may_have_run and request.attempt:
            make_room(self._unsure, request.attempt, MOST_UNSURE)
            self._unsure[request.attempt] = (
                (given.way, given.way.costs or ()) if isinstance(given, LeasedBatch) else given
            )

    def _settle_one(self, given: LeasedBatch | Given | None, *, was_used: bool) -> None:
        if isinstance(given, LeasedBatch):
            given.used += was_used
        elif given is not None:
            self.settle(given, was_used=was_used)

    def _settle_bulks(self, bulks: Iterable[LeasedBatch | None]) -> None:
        for bulk in bulks:
            if bulk is not None:
                bulk.settle()

    async def peek(self, request: TakeRequest) -> Peek:
        """See TakeStore. The room in a leased bucket is what the bucket and this gate's lease of it hold together."""
        peeked = await self._takes.peek(request)
        limits = request.class_limits
        leased = self._classes[limits] if limits in self._classes else self._learn(limits)
        if leased is None:
            return peeked
        held = {(lease.entity, lease.limit.name): max(0, lease.held_us) for lease in leased.leases}
        shared = {limit: each.entity for each in limits.shared for limit in each.limits.limits}
        rooms = tuple(
            _with_held(room, held.get((shared.get(room.limit, ""), room.limit.name), 0)) for room in peeked.rooms
        )
        if peeked.result.refusal is not None:
            way = next((way for way in leased.ways if way.has(way.costs_of(request.size))), None)
            if way is not None:
                peeked = await self._takes.peek(replace(request, class_limits=way.remaining))
        return Peek(peeked.result, rooms)

    def rest_of(self, attempt: int) -> ClassLimits | None:
        """The limits for the store alone, of a check that failed after it got tokens from leases; None if it got none."""
        given = self._unsure.get(attempt)
        return None if given is None else given[0].remaining

    def never_taken(self, attempt: int) -> None:
        """Take the tokens of a check back into the leases, since the store took nothing for it."""
        way, costs = self._unsure.pop(attempt, (None, ()))
        leases = way.leases if way is not None else ()
        # by name, as a new policy may have done away with the lease
        self.put_back([Change(each.entity, each.limit.name, -cost) for each, cost in zip(leases, costs, strict=True)])

    def taken_after_all(self, attempt: int) -> None:
        """Note that a check used its tokens; a later settlement of its upload says which of them go back."""
        self._unsure.pop(attempt, None)

    def put_back(self, changes: Sequence[Change]) -> None:
        """Make the changes of a settled upload in the leases that gave it tokens, also in those that the policy has not.

        Tokens of a limit that the policy no longer has are dropped.
        """
        for change in changes:
            lease = self._lease_of(change)
            if lease is not None:
                lease.take_back(-change.delta_us)
                if lease.held_us < 0:  # the bucket does not know yet that the upload is larger than it was taken for
                    self._wake.set()

    def _lease_of(self, change: Change) -> TokenLease | None:
        for lease in self._leases.values():
            if lease.entity == change.entity and change.limit in (lease.limit.name, lease.limit.id.hex()):
                return lease
        limit = self._shared.get((change.entity, change.limit))
        if limit is None:
            return None
        # it goes back to the bucket with the next renewal, and the lease is gone then
        lease = self._leases[change.entity, limit.name, limit.rate] = TokenLease(
            change.entity, limit, self._uptime_us()
        )
        return lease

    async def run(self) -> None:
        """Renew the leases, as soon as one runs low and once in a second. Never ends by itself."""
        while True:
            try:
                await self.renew()
            except Exception:
                self._counts.faults["lease"] += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._wake.wait()
            await asyncio.sleep(AT_LEAST_S)
            self._wake.clear()

    async def renew(self) -> None:
        """Draw the tokens that the leases want, and give back those that they do not need."""
        now_us = self._uptime_us()
        self._known_gates = gates = self._gates()
        wanted: list[tuple[TokenLease, int]] = []
        is_other = False
        for key, lease in list(self._leases.items()):
            before_us = lease.most_us
            lease.look(most_held(lease.limit, gates) if key in self._wanted else 0, now_us)
            is_other = is_other or lease.most_us != before_us
            us = lease.wanted(now_us)
            if us:
                wanted.append((lease, us))
            elif key not in self._wanted and lease.is_over:
                del self._leases[key]
        await self._exchange(wanted, now_us)
        for leased in self._classes.values() if wanted or is_other else ():  # there may be hundreds
            if leased is not None:
                leased.look()

    async def give_all_back(self) -> None:
        """Give back all tokens when the gate stops, and draw those that uploads took beyond them.

        Tokens that do not reach the store are lost.
        """
        left = [(lease, -lease.all_us or max(0, -lease.held_us)) for lease in self._leases.values()]
        await self._exchange([(lease, us) for lease, us in left if us], 0)

    async def _exchange(self, wanted: Sequence[tuple[TokenLease, int]], now_us: int) -> None:
        if not wanted:
            return
        for lease, us in wanted:
            lease.begin(us)
        exchanges = [Exchange(lease.entity, lease.limit, us) for lease, us in wanted]
        exchanging = asyncio.ensure_future(self._store.exchange(exchanges))
        try:
            await asyncio.wait((exchanging,))
        except asyncio.CancelledError:
            await asyncio.wait((exchanging,))  # the gate stops, and gives back what this call draws
            raise
        finally:
            exchanging.cancel()
            self._end(wanted, exchanging, now_us)

    def _end(
        self, wanted: Sequence[tuple[TokenLease, int]], exchanging: asyncio.Future[list[Exchanged | Exception]], now_us: int
    ) -> None:  # fmt: skip
        met: Sequence[Exchanged | Exception]
        try:
            met = exchanging.result()
        except (Exception, asyncio.CancelledError):
            lost = StoreUnavailable("the exchange was given up")
            lost.may_have_run = True
            met = [lost for _ in wanted]
            self._counts.faults["lease"] += 1
        for (lease, us), each in zip(wanted, met, strict=True):
            may_have_run = not isinstance(each, StoreUnavailable) or each.may_have_run
            lease.end(us, each if isinstance(each, Exchanged) else None, now_us, may_have_run=may_have_run)
            outcome = "failed" if isinstance(each, Exception) else "given_back" if us < 0 else "drawn"
            self._counts.lease_exchanges[outcome] += 1
            self._counts.lease_draws_scarce += us > 0 and isinstance(each, Exchanged) and lease.is_scarce

    def give(self, request: TakeRequest) -> tuple[ClassLimits, Given] | None:
        """Tokens for the upload from every lease of one way, or from none; and the limits that remain for the store."""
        limits = request.class_limits
        leased = self._classes[limits] if limits in self._classes else self._learn(limits)
        if leased is None or not leased.is_on:
            return None
        for way in leased.ways:
            leases, costs = way.leases, way.costs or way.costs_of(request.size)
            for lease, cost in zip(leases, costs):  # noqa: B905  (`has` and `spend`, without what the calls cost)
                if lease.held_us < cost:
                    break
            else:
                for lease, cost in zip(leases, costs):  # noqa: B905
                    lease.held_us = held_us = lease.held_us - cost
                    lease.out_us += cost
                    lease.demand_us += cost
                    lease.demands += 1
                    if held_us < lease.low_us:
                        self._wake.set()
                self._taken["lease"] += 1
                return way.remaining, (way, costs)
        leased.want(request.size, 1)
        self._wake.set()
        self._taken["bucket"] += 1
        return None

    def settle(self, given: Given, *, was_used: bool) -> None:
        """Note that an upload has used what it was given, or that it has not."""
        way, costs = given
        for lease, cost in zip(way.leases, costs):  # noqa: B905
            lease.out_us -= cost
            if not was_used:
                lease.held_us += cost

    def _give_many(self, limits: ClassLimits, count: int, alone: set[ClassLimits]) -> LeasedBatch | None:
        """Tokens for so many uploads of a class, all in the first way. None: they take from the buckets, or, where the class is
        then in `alone`, each may get tokens by itself.
        """
        leased = self._classes[limits] if limits in self._classes else self._learn(limits)
        if leased is None or not leased.is_on:
            return None
        way = leased.ways[0]
        if way.costs is not None and way.has(costs := [cost * count for cost in way.costs]):
            if way.spend(costs, count):
                self._wake.set()
            self._taken["lease"] += count
            return LeasedBatch(way, count)
        if way.costs is None or len(leased.ways) > 1 or way.has(way.costs):
            alone.add(limits)
            return None
        leased.want(0, count)
        self._wake.set()
        self._taken["bucket"] += count
        return None

    def _learn(self, limits: ClassLimits) -> LeasedClass | None:
        """The leases of a class; None where it has none."""
        if len(self._classes) >= self._expected + MOST_OTHERS:
            for each in list(self._classes)[self._expected :]:
                del self._classes[each]
        self._classes[limits] = found = leased_class(limits, self._lease)
        return found

    def _lease(self, entity: str, limit: Limit) -> TokenLease:
        key = entity, limit.name, limit.rate
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = TokenLease(entity, limit, self._uptime_us())
        if limit in self._in_force:  # a check may still be one of the policy before
            self._wanted.add(key)
            lease.limit = limit  # a new policy may change what is leased
            if not lease.most_us:
                lease.most_us = most_held(limit, self._known_gates)
        return lease


def _with_held(room: Room, held_us: int) -> Room:
    return Room(room.limit, room.full_at_us - held_us, room.open, held_us) if held_us else room
