"""Tokens of leased limits move if and only if the upload goes ahead, whatever fails, is cancelled or changes meanwhile.

Gates check uploads over one store while calls fail, answers are lost, callers go away, leases are renewed and policies change.
Then all is settled, and each bucket has given exactly what the leases hold, what uploads took and what lost draws took along.
The store's clock stands still, so that nothing fills up again.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from gate.app.check import Check
from gate.app.leased_takes import LeasedTakes
from gate.app.settle import Reports
from gate.core.account import Account
from gate.core.limits.limit import Rate
from gate.core.limits.reservation import Expired, Notice, Report, SettledAs, Settlement, UploadOutcome
from gate.core.limits.take import ClassLimits, Peek, TakeRequest, TakeResult
from gate.core.limits.token_lease import Exchange, Exchanged
from gate.core.media import Media
from gate.core.policy import LimitRule, Mode, OnStoreError, Policy, Subject, Thresholds, Unit
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.errors import StoreOverloaded, StoreUnavailable
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from tests.take_requests import DAY_US, NOW_US

CLASSES = "new", "regular"
UPLOADS, BYTES, OWN = (Rate(burst, 365 * DAY_US, burst) for burst in (3_000, 60_000, 30))
PACKAGED = load_policy(None)
Bucket = tuple[str, str]
BESIDE = 500_000
"""Apart from a check of a gate: the number of a check of the same upload at another one."""


class Standstill:
    def now_us(self) -> int:
        return NOW_US


class FaultyStore:
    """One gate's way to the store. While it is `bad`, calls fail before or after they are carried out, or are sent twice.

    `told` gets the upload of a check that another gate sent in between, if that is answered that it is let in.
    """

    down: str | None = None

    def __init__(
        self,
        store: MemoryAccountStore,
        chance: random.Random,
        lost: dict[Bucket, int],
        told: Callable[[TakeRequest], None],
    ) -> None:
        self._store, self._chance, self._lost, self._told = store, chance, lost, told
        self.bad = False
        self._unheard: list[Settlement] = []

    async def take(self, request: TakeRequest) -> TakeResult:
        (found,) = await self.take_many([request])
        if isinstance(found, Exception):
            raise found
        return found

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        await self._pause()
        found = [await self._take(request) for request in requests]
        await self._pause()
        return found

    async def _take(self, request: TakeRequest) -> TakeResult | Exception:
        match self._fate("carried out", "sent twice", "another between", "answer lost", "lost", "refused", "shed"):
            case "carried out":
                return await self._store.take(request)
            case "sent twice":
                await self._store.take(request)
                return await self._store.take(request)
            case "another between":
                await self._store.take(request)
                beside = await self._store.take(structs.replace(request, attempt=request.attempt + BESIDE))
                if beside.charged:
                    self._told(request)
                return await self._store.take(request)
            case "answer lost":
                await self._store.take(request)
                return _unavailable(may_have_run=True)
            case "shed":
                return StoreOverloaded("too many")
            case fate:
                return _unavailable(may_have_run=fate == "lost")

    async def exchange(self, wanted: Sequence[Exchange], now_us: int | None = None) -> list[Exchanged | Exception]:
        await self._pause()
        found: list[Exchanged | Exception] = []
        for each in wanted:
            fate, key = self._fate("carried out", "answer lost", "lost", "refused"), (each.entity, each.limit.name)
            met = await self._store.exchange([each]) if fate in ("carried out", "answer lost") else []
            found += met if fate == "carried out" else [_unavailable(may_have_run=fate != "refused")]
            if fate == "answer lost":
                self._lost[key] += sum(max(0, one.us) for one in met if isinstance(one, Exchanged))
            elif fate == "lost":
                self._lost[key] += max(0, -each.us)
        await self._pause()
        return found

    async def settle(self, notices: Sequence[Notice], now_us: int | None = None) -> list[Settlement | Exception]:
        await self._pause()
        fates = [self._fate("carried out", "answer lost", "refused") for _ in notices]
        found: list[Settlement | Exception] = []
        for notice, fate in zip(notices, fates, strict=True):
            met = await self._store.settle([notice]) if fate != "refused" else []
            found += met if fate == "carried out" else [_unavailable(may_have_run=fate == "answer lost")]
            self._unheard += [each for each in met if fate == "answer lost" and isinstance(each, Settlement)]
        return found

    async def unheard(self, older_than_s: float) -> list[Settlement]:
        told, self._unheard = self._unheard, []
        return told

    async def peek(self, request: TakeRequest) -> Peek:
        return await self._store.peek(request)

    async def due(self, most: int, now_us: int | None = None) -> list[Expired]:
        return []

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Nothing is to be learned."""

    def _fate(self, sound: str, *others: str) -> str:
        return self._chance.choice((sound, *others)) if self.bad else sound

    async def _pause(self) -> None:
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)


def _unavailable(*, may_have_run: bool) -> StoreUnavailable:
    error = StoreUnavailable("no answer")
    error.may_have_run = may_have_run
    return error


def a_policy(chance: random.Random) -> Policy:
    """The limits are always the same, and each time leased otherwise. An outage lets no upload in."""
    kinds = (
        ("account.uploads", Subject.ACCOUNT, Unit.UPLOADS, OWN, (0,)),
        ("class.uploads", Subject.CLASS, Unit.UPLOADS, UPLOADS, (0, 20, 200)),
        ("platform.uploads", Subject.PLATFORM, Unit.UPLOADS, UPLOADS, (0, 30, 100)),
        ("platform.bytes", Subject.PLATFORM, Unit.BYTES, BYTES, (0, 500, 2_000)),
    )
    limits = tuple(
        LimitRule(
            name, subject, unit, Mode.ENFORCE, OnStoreError.CLOSED, dict.fromkeys(CLASSES, rate),
            lease=chance.choice(leases),
        )
        for name, subject, unit, rate, leases in kinds
    )  # fmt: skip
    thresholds = dict.fromkeys(CLASSES, Thresholds())
    return replace(
        PACKAGED, classes=CLASSES, default_class="new", new_class=None, unverified_class=None, thresholds=thresholds,
        limits=limits,
    )  # fmt: skip


class Gate:
    """A gate without sockets; a test steps its uptime."""

    def __init__(self, store: FaultyStore, policy: Policy, number: int) -> None:
        self.store, counts, self.uptime_us = store, Counts(), 0
        self.takes = LeasedTakes(store, store, counts, lambda: 3, lambda: self.uptime_us)
        self.reports = Reports(store, counts, look_again_s=0.0, leases=self.takes)
        self.check = Check(
            policy, self.takes, Standstill(), Pseudonyms(b"salt"), counts, time.perf_counter_ns, LocalBuckets,
            reports=self.reports, first_attempt=number * 1_000_000, leases=self.takes,
        )  # fmt: skip


class World:
    """Three gates, and the uploads that they let in, each with what it took from the shared buckets."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.lost = chance, defaultdict[Bucket, int](int)
        self.store = MemoryAccountStore(Standstill())
        policy = a_policy(chance)
        self.gates = [Gate(FaultyStore(self.store, chance, self.lost, self.noted), policy, n) for n in range(3)]
        self.took: dict[tuple[str, str], dict[Bucket, int]] = {}
        self.under_way: list[asyncio.Task[None]] = []
        self._numbers = itertools.count()
        self.sent: list[CheckRequest] = []
        """The uploads of the last check, unless they were reported since."""

    def uploads(self) -> list[CheckRequest]:
        """New uploads, or those that were checked before, by whichever gate, once more."""
        chance, found = self.chance, []
        if self.sent and chance.random() < 0.4:
            return chance.sample(self.sent, min(len(self.sent), chance.choice((1, 3, 60))))
        for n in itertools.islice(self._numbers, chance.choice((1, 1, 5, 20, 60))):
            account = Account(f"a{chance.randrange(6) if chance.random() < 0.3 else n + 10}", chance.choice(CLASSES))
            found.append(CheckRequest(f"u{n}", account, Media("image", chance.choice((0, 1, 7, 20)))))
        return found

    async def checked(self, gate: Gate, requests: list[CheckRequest]) -> None:
        self.sent = requests
        alone = len(requests) == 1
        decisions = [await gate.check.check(requests[0])] if alone else await gate.check.check_many(requests)
        for request, decision in zip(requests, decisions, strict=True):
            if decision.reserved:
                class_ = request.account.class_ or ""
                # an upload that was committed before keeps its real size
                taken = took_by(class_, request.media.bytes or 0)
                self.took.setdefault((request.account.id, request.upload_id), taken)

    def noted(self, request: TakeRequest) -> None:
        self.took.setdefault((request.account, request.upload_id), took_by(request.class_, request.size))

    async def step(self) -> None:
        chance, gate = self.chance, self.chance.choice(self.gates)
        match chance.choice(("check",) * 5 + ("renew",) * 3 + ("fault", "policy", "wait")):
            case "check":
                self.under_way.append(asyncio.create_task(self.checked(gate, self.uploads())))
                if chance.random() < 0.15:
                    await asyncio.sleep(0)
                    self.under_way[-1].cancel()
            case "renew":
                gate.uptime_us += chance.choice((1, 30_000, 300_000, 1_000_000, 4_000_000))
                await gate.takes.renew()
            case "fault":
                gate.store.bad = not gate.store.bad
            case "policy":
                policy = a_policy(chance)
                for each in chance.sample(self.gates, 2):
                    each.check.policy = policy
            case _:
                await asyncio.sleep(0)

    async def settle_all(self) -> None:
        """Wait for all checks, settle what nobody got the answer of, and report some of the uploads."""
        await asyncio.gather(*self.under_way, return_exceptions=True)
        self.under_way.clear()
        self.sent = []
        for gate in self.gates:
            with suppress(StoreUnavailable):
                await gate.reports._give_back()  # a part of which may fail
            gate.store.bad = False
            await gate.reports._give_back()
            while gate.reports.waiting:
                await gate.reports._give_back()
        for account, upload_id in self.chance.sample(list(self.took), len(self.took) // 3):
            outcome, real = self.chance.choice(list(UploadOutcome)), self.chance.choice((None, 0, 3, 200))
            (settled,) = await self.chance.choice(self.gates).reports.settle(
                [Report(account, upload_id, outcome, real)]
            )
            assert isinstance(settled, Settlement)
            if settled.settled is SettledAs.SETTLED and outcome is not UploadOutcome.COMMITTED:
                del self.took[account, upload_id]
            elif settled.settled is SettledAs.SETTLED and real is not None:
                self.took[account, upload_id]["platform", "platform.bytes"] = BYTES.cost_us(real)

    def gone(self) -> dict[Bucket, tuple[int, int]]:
        """For each shared bucket what it has given, and where that has gone."""
        found = {}
        leases = [lease for gate in self.gates for lease in gate.takes.leases]
        for key in (*((f"class:{name}", "class.uploads") for name in CLASSES), *PLATFORM):
            given = max(0, self.store.tat_us(*key) - NOW_US)
            held = sum(
                lease.all_us + min(0, lease.held_us) for lease in leases if (lease.entity, lease.limit.name) == key
            )
            found[key] = given, held + self.lost[key] + sum(each.get(key, 0) for each in self.took.values())
        return found


PLATFORM = ("platform", "platform.uploads"), ("platform", "platform.bytes")


def took_by(class_: str, size: int) -> dict[Bucket, int]:
    of_class = f"class:{class_}", "class.uploads"
    uploads, in_bytes = PLATFORM
    return {of_class: UPLOADS.cost_us(1), uploads: UPLOADS.cost_us(1), in_bytes: BYTES.cost_us(size)}


@given(st.integers(0, 1 << 32))
@settings(max_examples=25)
def test_each_bucket_has_given_what_leases_hold_what_uploads_took_and_what_lost_draws_took_along(seed: int) -> None:
    async def life() -> list[dict[Bucket, tuple[int, int]]]:
        world, found = World(random.Random(seed)), []
        for _ in range(3):
            for _ in range(15):
                await world.step()
            await world.settle_all()
            found.append(world.gone())
        return found

    for at_rest in asyncio.run(life()):
        assert {key: given for key, (given, _) in at_rest.items()} == {key: to for key, (_, to) in at_rest.items()}
