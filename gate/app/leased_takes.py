"""Takes from leases: what a class or the whole platform shares costs a check neither a key nor a call.

`LeasedTakes` stands before a TakeStore. Where this gate's leases of the shared buckets hold enough, a check gets its tokens from
them, and the store takes from the other buckets alone. If the store lets the upload in, it notes what the leases gave; else
the tokens go back to the leases. Where a lease has run dry, the store takes from the shared buckets as well, so a refusal is
always theirs, and so is its retry-after.

`run` renews the leases beside the checks, from a TokenLeaseStore. `gate.core.limits.token_lease` decides how much they hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace as copy_with
from itertools import product
from typing import Final

from msgspec.structs import replace

from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate, Room
from gate.core.limits.reservation import Change
from gate.core.limits.take import ClassLimits, Peek, TakeRequest, TakeResult
from gate.core.limits.token_lease import Exchange, Exchanged, TokenLease, most_held
from gate.metrics import Counts
from gate.ports.takes import TakeStore
from gate.ports.token_leases import TokenLeaseStore

EVERY_S: Final = 1.0
"""How often the leases are looked at, at least."""
AT_LEAST_S: Final = 0.02
"""The time between two looks, at least."""
MOST_CLASSES: Final = 512
MOST_WAYS: Final = 8

Key = tuple[str, str, Rate]
"""A bucket and the rate of the class that takes from it: entity, limit, rate."""


class LeasedWay:
    """One choice of leases for an upload of a class, what the upload costs each, and the limits that remain for the store."""

    __slots__ = ("costs", "leases", "remaining", "scarce", "scarce_share")

    def __init__(self, leases: tuple[TokenLease, ...], remaining: ClassLimits) -> None:
        self.leases = leases
        self.remaining = remaining
        self.costs = None if any(lease.limit.by_bytes for lease in leases) else self._costs(0)
        self.scarce: Room | None = None
        """The emptiest of its buckets at the last look."""
        self.scarce_share = 2.0

    def costs_of(self, size: int) -> tuple[int, ...]:
        """What an upload of that size costs each lease."""
        return self.costs if self.costs is not None else self._costs(size)

    def _costs(self, size: int) -> tuple[int, ...]:
        return tuple(lease.limit.cost_us(size) for lease in self.leases)

    def has(self, costs: tuple[int, ...]) -> bool:
        """Whether each lease holds that much."""
        for lease, cost in zip(self.leases, costs):  # noqa: B905, SIM110  (as long as each other; each check runs it)
            if lease.held_us < cost:
                return False
        return True

    def note_scarce(self) -> None:
        """Look which of the buckets is the emptiest. A reserve is none, as the rest of its limit has room besides."""
        self.scarce, self.scarce_share = None, 2.0
        for lease in self.leases:
            limit = lease.limit
            if lease.room is not None and not limit.shadow and not limit.reserve_of and lease.share < self.scarce_share:
                self.scarce, self.scarce_share = lease.room, lease.share


class LeasedClass:
    """The ways in which an upload of a class may get its tokens from leases: first those with the reserve of the class."""

    __slots__ = ("is_on", "leases", "ways")

    def __init__(self, ways: tuple[LeasedWay, ...]) -> None:
        self.ways = ways
        self.leases = tuple(dict.fromkeys(lease for way in ways for lease in way.leases))
        self.is_on = True
        """Whether each lease may hold anything."""
        self.look()

    def wanting(self) -> list[TokenLease]:
        """The leases that an upload needs which got nothing: those of the first way that is not scarce, and all that are."""
        ways = (way for way in self.ways if not any(lease.is_scarce for lease in way.leases))
        way = next(ways, self.ways[-1])
        return [lease for lease in self.leases if lease.is_scarce or lease in way.leases]

    def look(self) -> None:
        """Work out what follows from the leases as they are now."""
        self.is_on = all(lease.most_us for lease in self.leases)
        for way in self.ways:
            way.note_scarce()


Given = tuple[LeasedWay, tuple[int, ...]]
"""What the leases gave to one upload."""


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
        self._gates = gates
        self._known_gates = 1
        self._uptime_us = uptime_us
        self._leases: dict[Key, TokenLease] = {}
        self._classes: dict[ClassLimits, LeasedClass | None] = {}
        self._wanted: set[Key] = set()
        """The leases of the policy in force."""
        self._wake = asyncio.Event()

    @property
    def leases(self) -> list[TokenLease]:
        """What this gate holds."""
        return list(self._leases.values())

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """See TakeStore. Leases that none of the classes has are given back."""
        self._classes.clear()
        self._wanted.clear()
        leased = [self._learn(each) for each in classes]
        remaining = [way.remaining for each in leased if each is not None for way in each.ways]
        self._takes.expect((*classes, *remaining))

    async def take(self, request: TakeRequest) -> TakeResult:
        """See TakeStore."""
        given = self._give(request)
        if given is None:
            return await self._takes.take(request)
        way = given[0]
        try:
            result = await self._takes.take(replace(request, class_limits=way.remaining))
        except Exception as error:
            _settle(given, was_used=getattr(error, "may_have_run", False))
            raise
        except asyncio.CancelledError:
            _settle(given, was_used=True)
            raise
        _settle(given, was_used=result.charged and not result.repeated)
        return _told(way, result)

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        """See TakeStore."""
        given = [self._give(request) for request in requests]
        sent = [
            request if each is None else replace(request, class_limits=each[0].remaining)
            for request, each in zip(requests, given, strict=True)
        ]
        try:
            results = await self._takes.take_many(sent)
        except BaseException:
            for each in given:
                if each is not None:
                    _settle(each, was_used=True)
            raise
        for n, each in enumerate(given):
            if each is None:
                continue
            result = results[n]
            if isinstance(result, TakeResult):
                _settle(each, was_used=result.charged and not result.repeated)
                results[n] = _told(each[0], result)
            else:
                _settle(each, was_used=getattr(result, "may_have_run", False))
        return results

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

    def put_back(self, changes: Sequence[Change]) -> None:
        """Make the changes of a settled upload in the leases that gave to it. Those that this gate lacks are dropped."""
        for change in changes:
            for lease in self._leases.values():
                if lease.entity == change.entity and change.limit in (lease.limit.name, lease.limit.id.hex()):
                    lease.refund(-change.delta_us)
                    break

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
        """Draw what is wanted, and give back what is not."""
        now_us = self._uptime_us()
        self._known_gates = gates = self._gates()
        wanted: list[tuple[TokenLease, int]] = []
        for key, lease in list(self._leases.items()):
            lease.look(most_held(lease.limit, gates) if key in self._wanted else 0, now_us)
            us = lease.wanted(now_us)
            if us:
                wanted.append((lease, us))
            elif key not in self._wanted and not lease.all_us:
                del self._leases[key]
        await self._exchange(wanted, now_us)
        for leased in self._classes.values():
            if leased is not None:
                leased.look()

    async def give_all_back(self) -> None:
        """Give back everything, as the gate stops. What does not reach the store is lost."""
        await self._exchange([(lease, -lease.all_us) for lease in self._leases.values() if lease.all_us], 0)

    async def _exchange(self, wanted: Sequence[tuple[TokenLease, int]], now_us: int) -> None:
        if not wanted:
            return
        for lease, us in wanted:
            lease.begin(us)
        try:
            met = await self._store.exchange([Exchange(lease.entity, lease.limit, us) for lease, us in wanted])
        except Exception as error:
            met = [error for _ in wanted]
            self._counts.faults["lease"] += 1
        for (lease, us), each in zip(wanted, met, strict=True):
            lease.end(us, each if isinstance(each, Exchanged) else None, now_us)
            outcome = "failed" if isinstance(each, Exception) else "given_back" if us < 0 else "drawn"
            self._counts.lease_exchanges[outcome] += 1

    def _give(self, request: TakeRequest) -> Given | None:
        """Tokens for the upload from every lease of one way, or from none."""
        limits = request.class_limits
        leased = self._classes[limits] if limits in self._classes else self._learn(limits)
        if leased is None or not leased.is_on:
            return None
        for way in leased.ways:
            costs = way.costs or way.costs_of(request.size)
            if not way.has(costs):
                continue
            for lease, cost in zip(way.leases, costs):  # noqa: B905
                lease.held_us -= cost
                lease.out_us += cost
                lease.demand_us += cost
                lease.demands += 1
                if lease.held_us < lease.low_us:
                    self._wake.set()
            self._counts.lease_takes["lease"] += 1
            return way, costs
        for lease in leased.wanting():
            lease.demand_us += lease.limit.cost_us(request.size)
            lease.demands += 1
        self._wake.set()
        self._counts.lease_takes["bucket"] += 1
        return None

    def _learn(self, limits: ClassLimits) -> LeasedClass | None:
        """The leases of a class; None where it has none."""
        if len(self._classes) >= MOST_CLASSES:
            self._classes.clear()
        shared: list[EntityBuckets] = []
        choices: list[list[tuple[str, Limit]]] = []
        for each in limits.shared:
            kept: list[Limit] = []
            reserve: list[tuple[str, Limit]] = []
            for limit in each.limits.limits:
                if limit.lease == 0 or limit.in_flight:
                    kept.append(limit)
                elif limit.reserve_of:
                    reserve = [(each.entity, limit)]
                else:
                    choices.append([*reserve, (each.entity, limit)])
                    reserve = []
            if kept:
                whole = len(kept) == len(each.limits.limits)
                shared.append(each if whole else EntityBuckets(each.entity, EntityLimits(tuple(kept))))
        ways = [self._way(limits, shared, chosen) for chosen in product(*choices)] if choices else []
        found = LeasedClass(tuple(ways[:MOST_WAYS])) if ways else None
        self._classes[limits] = found
        return found

    def _way(self, limits: ClassLimits, shared: list[EntityBuckets], chosen: Sequence[tuple[str, Limit]]) -> LeasedWay:
        leases = tuple(self._lease(entity, limit) for entity, limit in chosen)
        leased = tuple(EntityBuckets(entity, EntityLimits((limit,))) for entity, limit in chosen)
        return LeasedWay(leases, copy_with(limits, shared=tuple(shared), leased=leased))

    def _lease(self, entity: str, limit: Limit) -> TokenLease:
        key = entity, limit.name, limit.rate
        self._wanted.add(key)
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = TokenLease(entity, limit, self._uptime_us())
        lease.limit = limit  # a new policy may change what is leased
        if not lease.most_us:
            lease.most_us = most_held(limit, self._known_gates)
        return lease


def _settle(given: Given, *, was_used: bool) -> None:
    """Note that an upload has used what it was given, or that it has not."""
    way, costs = given
    for lease, cost in zip(way.leases, costs):  # noqa: B905
        lease.out_us -= cost
        if not was_used:
            lease.held_us += cost


def _told(way: LeasedWay, result: TakeResult) -> TakeResult:
    """The answer, with the room of a leased bucket where that is the emptiest."""
    room = result.room
    if room is None:
        return result
    tolerance_us = room.limit.tolerance_us or 1
    if (result.now_us + tolerance_us - room.full_at_us) / tolerance_us <= way.scarce_share:
        return result
    return replace(result, room=way.scarce)


def _with_held(room: Room, held_us: int) -> Room:
    return Room(room.limit, room.full_at_us - held_us, room.open, held_us) if held_us else room
