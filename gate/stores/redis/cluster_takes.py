"""Takes on a Redis Cluster: a batch is cut by slot and sent to all nodes in parallel, under one deadline.

`gate.stores.redis.cluster_parts` says which parts a check has. The account's part goes first, as it knows whether the upload was
checked before; the others follow in a second round. If one part refuses, the other parts give back the tokens that they took:
before the answer, or in the background where no time is left.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from msgspec.structs import replace

from gate.core.limits.reservation import Report, UploadOutcome
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.errors import StoreUnavailable
from gate.ports.reservations import ReservationStore
from gate.stores.redis.cluster_parts import (
    OWN,
    entity_prefix,
    further_requests,
    own_request,
    parts_key,
    parts_of,
    together,
)
from gate.stores.redis.connections.address import read_endpoints
from gate.stores.redis.connections.cluster import ClusterLine
from gate.stores.redis.connections.cluster_map import slot_of, tags
from gate.stores.redis.connections.line import Routed, Stats
from gate.stores.redis.layout import account_key, due_key
from gate.stores.redis.limit_tags import LIMITS_TTL_MS
from gate.stores.redis.reservations import RedisReservationStore
from gate.stores.redis.take_batch import Batch
from gate.stores.redis.take_scripts import Scripts
from gate.stores.redis.take_wire import CONNECT_WITHIN_S, PROBE, TakeWire
from gate.stores.redis.unrolled import Unrolled

MOST_WAITING: Final = 10_000
AT_ONCE: Final = 256
TRY_AGAIN_S: Final = 0.25
_PROBING: Final = "\0probe"

Outcome = TakeResult | StoreUnavailable


class ApartScripts:
    """A script for each kind of entity, so that each value holds the limits of its kind alone."""

    def __init__(self) -> None:
        self._scripts: dict[str, Scripts] = defaultdict(Scripts)
        self.kinds: dict[str, set[str]] = defaultdict(set)
        """By the name of a class the kinds of its parts beside the account's."""

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Write the scripts for these classes."""
        by_kind: dict[str, list[ClassLimits]] = defaultdict(list)
        for each in classes:
            parts = parts_of(each)
            by_kind[OWN].append(parts.own)
            self.kinds[each.name].update(part.kind for part in parts.others)
            for part in parts.others:
                by_kind[part.kind].append(part.limits)
        for kind, some in by_kind.items():
            self._scripts[kind].expect(some)

    def note(self, requests: Sequence[TakeRequest]) -> None:
        """Learn classes that nobody has announced."""
        for limits in {request.class_limits for request in requests}:
            kinds = self.kinds[limits.name]
            kinds.update(part.kind for part in parts_of(limits).others)

    def of(self, kind: str, limits: ClassLimits, batch: Sequence[ClassLimits]) -> Unrolled:
        """The script that has the class. `batch` are all classes of that kind that are needed with it."""
        return self._scripts[kind].of(limits, batch)

    def all_of(self, kind: str) -> Sequence[Unrolled]:
        """The scripts of that kind that are kept."""
        return self._scripts[kind].all


class RefusedElsewhere:
    """Gives back what was taken for checks that another part refused."""

    def __init__(self, own: ReservationStore, entities: ReservationStore) -> None:
        self._stores = (own, entities)
        self._waiting: deque[tuple[int, int | None, Report]] = deque(maxlen=MOST_WAITING)
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Parts that are not given back yet."""
        return len(self._waiting)

    def add(self, request: TakeRequest, own: TakeResult, others: Sequence[tuple[TakeRequest, TakeResult]]) -> None:
        """Give back the account's part, and of the others those that took."""
        charged = [(0, request, own), *((1, each, result) for each, result in others if result.charged)]
        for which, each, result in charged:
            report = Report(each.account, each.upload_id, UploadOutcome.ABORTED, None, result.now_us)
            self._waiting.append((which, each.now_us, report))

    async def give_back(self, within_s: float) -> None:
        """Give back what was added; what is not done in time goes on in the background."""
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=max(0.0, within_s))

    async def close(self) -> None:
        """Stop. Tokens that were not given back yet stay taken until their reservation ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._waiting:
            groups: dict[tuple[int, int | None], list[Report]] = defaultdict(list)
            for which, now_us, report in islice(self._waiting, AT_ONCE):
                groups[which, now_us].append(report)
            settling = [self._stores[which].settle(some, now_us) for (which, now_us), some in groups.items()]
            failed: list[tuple[int, int | None, Report]] = []
            for ((which, now_us), some), settled in zip(groups.items(), await asyncio.gather(*settling), strict=True):
                for report, each in zip(some, settled, strict=True):
                    if isinstance(each, Exception):
                        failed.append((which, now_us, report))
            for _ in range(sum(map(len, groups.values()))):
                self._waiting.popleft()
            self._waiting.extend(failed)
            if failed:
                await asyncio.sleep(TRY_AGAIN_S)


def cluster_wire(url: str, prefix: str, stats: Stats, lanes: int) -> TakeWire:
    """How takes reach a Cluster."""
    endpoints = read_endpoints(url)
    assert endpoints is not None
    scripts = ApartScripts()
    own, entities = RedisReservationStore(url, prefix), RedisReservationStore(url, entity_prefix(prefix))
    refused = RefusedElsewhere(own, entities)
    lines = [ClusterLine(endpoints, "upload-gate-take", stats, patient=False) for _ in range(lanes)]

    def expect(classes: Sequence[ClassLimits]) -> None:
        scripts.expect(classes)
        parts = [parts_of(each) for each in classes]
        own.expect([each.own for each in parts])
        entities.expect([part.limits for each in parts for part in each.others])

    async def close() -> None:
        await refused.close()
        await own.close()
        await entities.close()
        for line in lines:
            await line.close()

    return TakeWire([ClusterTakeLane(line, scripts, prefix, stats, refused) for line in lines], expect, close)


class ClusterTakeLane:
    """Carries one batch of checks. See lane.Lane.

    A check whose node does not answer has its error in the place of its answer; the call fails only where no node answers.
    """

    def __init__(
        self, line: ClusterLine, scripts: ApartScripts, prefix: str, stats: Stats, refused: RefusedElsewhere
    ) -> None:
        self._line = line
        self._scripts = scripts
        self._prefix = prefix
        self._stats = stats
        self._refused = refused
        self._described: dict[str, Sequence[Unrolled]] = {}
        """The scripts whose tags the servers keep, by kind of entity."""

    async def call(self, items: Sequence[TakeRequest], within_s: float) -> list[Outcome]:
        """See lane.Lane."""
        until_s = asyncio.get_running_loop().time() + within_s
        self._stats.calls += 1
        self._stats.checks += len(items)
        self._scripts.note(items)
        found = await self._take([(OWN, own_request(each)) for each in items], until_s)
        further: list[tuple[int, str, TakeRequest]] = []
        for n, (item, own) in enumerate(zip(items, found, strict=True)):
            if isinstance(own, TakeResult) and own.charged:
                further += [(n, kind, part) for kind, part in further_requests(item, own)]
        if further:
            outcomes = await self._take([(kind, part) for _, kind, part in further], until_s)
            parts: dict[int, list[tuple[TakeRequest, Outcome]]] = defaultdict(list)
            for (n, _, part), outcome in zip(further, outcomes, strict=True):
                parts[n].append((part, outcome))
            for n, some in parts.items():
                found[n] = self._whole(items[n], found[n], some)
            if self._refused.waiting:
                await self._refused.give_back((until_s - asyncio.get_running_loop().time()) / 4)
        problems = [each for each in found if isinstance(each, StoreUnavailable)]
        if len(problems) == len(found) and self._line.is_down:
            raise problems[0]
        return found

    async def probe(self, within_s: float) -> None:
        """See lane.Lane. Takes on every master, and is content with one that answers."""
        self._stats.probes += 1
        await self._line.connect(CONNECT_WITHIN_S)
        until_s = asyncio.get_running_loop().time() + within_s
        slots = [self._line.slot_on(master) for master in self._line.masters]
        found = await self._take([(_PROBING, replace(PROBE, account=tags()[slot])) for slot in slots], until_s)
        problems = [each for each in found if isinstance(each, StoreUnavailable)]
        if len(problems) == len(found):
            raise problems[0] if problems else StoreUnavailable("the Redis Cluster has no master")
        self._described.clear()  # a node may have lost the limits behind the tags of reservations

    def _whole(self, item: TakeRequest, own: Outcome, parts: list[tuple[TakeRequest, Outcome]]) -> Outcome:
        """The answer to a check from the answers to its parts."""
        assert isinstance(own, TakeResult)
        took: list[tuple[TakeRequest, TakeResult]] = []
        for part, outcome in parts:
            if isinstance(outcome, StoreUnavailable):
                outcome.may_have_run = True  # the account's part did
                return outcome
            took.append((part, outcome))
        whole = together(item, own, [result for _, result in took])
        if not whole.charged:
            self._refused.add(item, own, took)
        return whole

    async def _take(self, parts: Sequence[tuple[str, TakeRequest]], until_s: float) -> list[Outcome]:
        """The answer or the error of each part. The parts of one kind in one slot share a script call."""
        classes: dict[str, list[ClassLimits]] = defaultdict(list)
        for kind, request in parts:
            classes[kind].append(request.class_limits)
        groups: dict[tuple[str, int, int], tuple[Unrolled, list[int]]] = {}
        for n, (kind, request) in enumerate(parts):
            unrolled = self._scripts.of(kind, request.class_limits, classes[kind])
            key = kind, slot_of(account_key("", request.account)), id(unrolled)
            groups.setdefault(key, (unrolled, []))[1].append(n)
        batches: list[Batch] = []
        for (kind, slot, _), (unrolled, some) in groups.items():
            requests = [parts[n][1] for n in some]
            prefix = self._prefix_of(kind)
            await self._describe(kind, unrolled, until_s)
            batches.append(Batch(requests, unrolled, prefix, due_key(prefix, slot)))
        outcomes = await self._line.outcomes(batches, until_s, again=True)
        found: list[Outcome] = [StoreUnavailable("")] * len(parts)
        for (_, some), batch, reply in zip(groups.values(), batches, outcomes, strict=True):
            results: Sequence[Outcome] = (
                [reply] * len(some) if isinstance(reply, StoreUnavailable) else batch.read(reply)
            )
            self._stats.unreadable += batch.unreadable
            for n, result in zip(some, results, strict=True):
                found[n] = result
        return found

    def _prefix_of(self, kind: str) -> str:
        if kind == OWN:
            return self._prefix
        return f"{self._prefix}probe:" if kind == _PROBING else entity_prefix(self._prefix)

    async def _describe(self, kind: str, unrolled: Unrolled, until_s: float) -> None:
        """Store what the tags in reservations will stand for. A node that is away must not stop the others."""
        known = self._described.get(kind, ())
        if kind == _PROBING or any(unrolled is each for each in known):
            return
        key = f"{self._prefix_of(kind)}2limits"
        calls: list[Routed] = []
        for class_ in {each.name for each in unrolled.classes} if kind == OWN else ():
            if kinds := self._scripts.kinds[class_]:
                name = parts_key(self._prefix, class_)
                calls += [(name, (b"SADD", name, *kinds)), (name, (b"PEXPIRE", name, LIMITS_TTL_MS))]
        pairs = [part for pair in unrolled.tags.items() for part in pair]
        within_s = (until_s - asyncio.get_running_loop().time()) / 2
        with suppress(StoreUnavailable):
            if pairs:
                calls += [(key, (b"HSET", key, *pairs)), (key, (b"PEXPIRE", key, LIMITS_TTL_MS))]
            await self._line.pipeline(calls, within_s)
            kept = self._scripts.all_of(kind)
            self._described[kind] = [*(each for each in known if any(each is one for one in kept)), unrolled]
