"""The take store in Redis (or Valkey), 7.0 or newer, standalone.

    {prefix}u:LENGTH:{ACCOUNT}:UPLOAD that an upload was charged and what was answered, for its lifetime
    {prefix}b:ENTITY                  all buckets of one entity: limit id and TAT of each, until a minute after all are
                                      full; the minute covers a server clock that steps back

It also reads `{prefix}score:{ACCOUNT}` and `{prefix}override:{ACCOUNT}`, which its neighbours `scores` and `overrides`
write. Limits are found by a hash of their name, so a policy may add, remove and reorder them. A check is one script that
reads and takes everything; up to 32 checks share a call. Under a recorded clock (`TakeRequest.now_us`) buckets and
uploads are kept for an hour of the server's time, so such requests belong under a prefix of their own.

Requests and answers are packed numbers, one string for a whole batch, because each argument of a command costs the
server and the client more than the numbers in it. The layouts stand at the top of `lua/take.lua`. They are here and not
in `gate.records`, because only the script reads them and nothing keeps them.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from gate.core.hot_facts import MetFact
from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import EntityLimits, Limit
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.standing import Standing
from gate.errors import StateUnreadable
from gate.records.override import decode_stored_override, obeyed_override
from gate.stores.redis.batcher import Batcher
from gate.stores.redis.line import Line, Run, Script, Stats

MAX_SPAN_US: Final = 1 << 51
"""Costs and tolerances are capped at 71 years, so that no sum in a script leaves the exact integers of a double."""

_CHARGED, _REPEATED, _SCORED, _NEVER_FITS, _UNREADABLE, _DOES_NOT_ACT = 1, 2, 4, 8, 16, 32
_ANSWER = struct.Struct("<BddddddBH")
_COUNT = struct.Struct("<H")
_NEVER = float("inf")
_UNKNOWN = Standing()

_pack = msgspec.msgpack.Encoder().encode

_PROBE: Final = TakeRequest("", "probe", ClassLimits(None, None, None, (), None, 0, lifetime_us=1))
"""A take from no bucket, for an account that no check can name. It writes, for a millisecond, that the upload was charged."""


class TakeLane:
    """Carries one batch of checks as one call. A call whose reply was lost is repeated once: the script knows uploads
    it has charged."""

    def __init__(self, line: Line, script: Script, prefix: str, stats: Stats) -> None:
        self._line = line
        self._script = script
        self._prefix = prefix.encode()
        self._stats = stats

    async def call(self, items: Sequence[TakeRequest], within_s: float) -> list[TakeResult]:
        """See batcher.Lane."""
        self._stats.calls += 1
        self._stats.checks += len(items)
        return await self._take(items, within_s)

    async def probe(self, within_s: float) -> None:
        """See batcher.Lane. Writes as a take does, so that a server that only reads does not pass for a sound one."""
        self._stats.probes += 1
        await self._take((_PROBE,), within_s)

    async def _take(self, items: Sequence[TakeRequest], within_s: float) -> list[TakeResult]:
        batch = Batch(items, self._prefix)
        (reply,) = await self._line.run((Run(self._script, (), batch.arguments),), within_s, again=True)
        results = batch.read(reply)
        self._stats.unreadable += batch.unreadable
        return results


class RedisTakeStore:
    """A TakeStore; see ports for what it promises. Use it in one event loop, between open() and close().

    `deadline_s` bounds a take, its waiting and its repetitions included. `stats` counts what the store has done.
    """

    def __init__(
        self,
        url: str,
        prefix: str = "ug:",
        deadline_s: float = 0.05,
        *,
        lanes: int = 2,
        max_batch: int = 32,
        max_queue: int = 1024,
        stats: Stats | None = None,
    ) -> None:
        self._stats = stats if stats is not None else Stats()
        self._lines = [Line(url, "upload-gate-take", self._stats) for _ in range(lanes)]
        script = Script.named("take")
        self._batcher: Batcher[TakeRequest, TakeResult] = Batcher(
            [TakeLane(line, script, prefix, self._stats) for line in self._lines], deadline_s, max_batch, max_queue
        )

    @property
    def stats(self) -> Stats:
        """Counters, read at any time."""
        self._stats.shed = self._batcher.shed
        return self._stats

    @property
    def down(self) -> str | None:
        """Why takes fail at once, None while the server answers them."""
        return self._batcher.down

    async def open(self) -> None:
        """Connect. Returns also where the server does not answer: takes then fail at once until it does."""
        await self._batcher.open()

    async def close(self) -> None:
        """Close every connection; pending takes fail."""
        await self._batcher.close()
        for line in self._lines:
            await line.close()

    def take(self, request: TakeRequest) -> Coroutine[Any, Any, TakeResult]:
        """See TakeStore."""
        return self._batcher.submit(request)

    def take_many(self, requests: Sequence[TakeRequest]) -> Coroutine[Any, Any, list[TakeResult | Exception]]:
        """See TakeStore."""
        return self._batcher.submit_all(requests)


class Batch:
    """The arguments of one call, and how to read its reply. Packed at once for all requests, not for each.

    `unreadable` counts the checks of the batch for which a stored value was not believed, once the reply is read.
    """

    __slots__ = ("_class_limits", "_hot", "arguments", "unreadable")

    def __init__(self, requests: Sequence[TakeRequest], prefix: bytes) -> None:
        numbers: defaultdict[ClassLimits, int] = defaultdict(
            count(1).__next__
        )  # numbers each class as it comes, from 1
        given: list[object] = [len(requests)]
        self._hot: dict[int, MetFact] = {}
        for at, request in enumerate(requests):
            limits, hot = request.class_limits, request.hot
            rates = limits.byte_rates
            if hot is not None:
                self._hot[at] = hot
            given += (
                numbers[limits],
                len(rates),
                request.now_us,
                request.account,
                request.upload_id,
                request.ip,
                request.device,
                0 if hot is None else int(limits.refused_by(hot)),
            )
            for rate in rates:
                cost = rate.cost_us(request.size)
                given.append(cost if cost < MAX_SPAN_US else MAX_SPAN_US)
        self.unreadable = 0
        self._class_limits = tuple(numbers)
        self.arguments = (prefix, _packed_class_limits(self._class_limits), _pack(given))

    def read(self, reply: Sequence[Any]) -> list[TakeResult]:
        """What the script answered, one for each request."""
        results: list[TakeResult] = []
        for flags, now, risk, at, half_life, base, wait, class_, limit in _ANSWER.iter_unpack(reply[0]):
            standing = _UNKNOWN
            if flags & _SCORED:
                acts = not flags & _DOES_NOT_ACT
                standing = Standing(risk, int(at), None, int(half_life), base, int(now), acts)
            refusal = self._refusal(class_ - 1, limit - 1, flags, wait) if class_ else None
            charged, repeated = flags & _CHARGED == _CHARGED, flags & _REPEATED == _REPEATED
            results.append(TakeResult(standing, charged, repeated, refusal, (), int(now)))
            if flags & _UNREADABLE:
                self.unreadable += 1
        for at, more in zip(reply[1::2], reply[2::2], strict=True):
            results[at] = self._with_more(results[at], more)
        for at, hot in self._hot.items():
            if not results[at].repeated:  # such an upload was let in before, and stays so
                results[at] = replace(results[at], standing=results[at].standing.meeting(hot))
        return results

    def _refusal(self, class_: int, limit: int, flags: int, wait: float) -> Refusal:
        name = _limits(self._class_limits[class_])[limit].name
        return Refusal(name, None if flags & _NEVER_FITS else int(wait))

    def _with_more(self, result: TakeResult, more: bytes) -> TakeResult:
        """What few answers have: an override, names of shadow limits."""
        (length,) = _COUNT.unpack_from(more)
        end = _COUNT.size + length
        override = None
        if length:
            value = more[_COUNT.size : end]
            try:
                override = decode_stored_override(value)
            except StateUnreadable:
                override = obeyed_override(value)
                self.unreadable += 1
        shadow = tuple(more[end:].decode().split("\n")) if len(more) > end else ()
        standing = replace(result.standing, override=override)
        return TakeResult(standing, result.charged, result.repeated, result.refusal, shadow, result.now_us)


@lru_cache(maxsize=256)
def _packed_class_limits(class_limits: tuple[ClassLimits, ...]) -> bytes:
    return _pack([_listed(each) for each in class_limits])


def _listed(class_limits: ClassLimits) -> list[object]:
    numbers = count(1)
    costs = count(-1, -1)

    def listed(limits: EntityLimits | None) -> list[object] | bool:
        return limits is not None and [value for each in limits.limits for value in _limit_values(each, numbers, costs)]

    refuse_at = _NEVER if class_limits.refuse_at is None else class_limits.refuse_at
    own = [listed(limits) for limits in (class_limits.account, class_limits.ip, class_limits.device)]
    shared = [value for each in class_limits.shared for value in (each.entity, listed(each.limits))]
    return [refuse_at, class_limits.max_score_age_us, class_limits.lifetime_us, *own, shared]


def _limit_values(limit: Limit, numbers: Iterator[int], costs: Iterator[int]) -> tuple[object, ...]:
    id_ = b64encode(blake2b(limit.name.encode(), digest_size=6).digest()).decode()
    cost = next(costs) if limit.by_bytes else min(limit.rate.cost_us(1), MAX_SPAN_US)
    return id_, cost, min(limit.rate.tolerance_us, MAX_SPAN_US), limit.shadow and limit.name, next(numbers)


def _limits(class_limits: ClassLimits) -> list[Limit]:
    """All limits of a class, in the order of their packed form."""
    return [limit for each in class_limits.entity_limits for limit in each.limits]
