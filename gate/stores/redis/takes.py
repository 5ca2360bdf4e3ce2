"""The take store in Redis (or Valkey), 7.0 or newer: on one server, as told here, or on a Cluster, see `cluster_takes`.

`gate.stores.redis.layout` says which keys and values it keeps. It also reads `{prefix}score:{ACCOUNT}` and
`{prefix}override:{ACCOUNT}`, which its neighbours `scores` and `overrides` write. All keys of an account share a slot, and the
script names every key that it reads. A check is one script that reads and takes everything; up to 32 checks share a call.
Under a recorded clock (`TakeRequest.now_us`) buckets and reservations are kept for an hour of the server's time, so such
requests belong under a prefix of their own.

`gate.stores.redis.unrolled` writes the script for the classes of a policy. Requests and answers are packed numbers, one string
for a whole batch, because each argument of a command costs the server and the client more than the numbers in it. The layouts
stand at the top of `lua/take.lua`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from msgspec.structs import replace

from gate.core.hot_facts import MetFact
from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import NEVER_US, Limit, Room
from gate.core.limits.take import ClassLimits, Peek, TakeRequest, TakeResult
from gate.core.standing import UNKNOWN, Standing
from gate.errors import StoreUnavailable
from gate.stores.redis.address import is_cluster
from gate.stores.redis.batcher import Batcher, Lane
from gate.stores.redis.connect import line_to, single_line_to
from gate.stores.redis.layout import LONGEST_UPLOAD, upload_hash
from gate.stores.redis.limit_tags import store_tags
from gate.stores.redis.line import Line, Stats
from gate.stores.redis.more_answers import with_more
from gate.stores.redis.peeks import peek
from gate.stores.redis.take_keys import TakeKeys, keys_under, shared_keys, with_raw_names
from gate.stores.redis.take_scripts import ScriptPair
from gate.stores.redis.unrolled import Unrolled

CONNECT_WITHIN_S: Final = 0.5
"""How long a probe may take to connect."""

_CHARGED, _REPEATED, _SCORED, _NEVER_FITS, _UNREADABLE, _DOES_NOT_ACT, _CONFLICT, _LIMITS = 1, 2, 4, 8, 16, 32, 64, 128
_RESENT = _CHARGED | _REPEATED | _NEVER_FITS
_KEEP_LIMITS, _RECORDED = 8, 16
_ANSWER = struct.Struct("<BdBH")
_TIMES = struct.Struct("<ddddd")
_TIMES_FOLLOW = 128
_COUNT = struct.Struct("<H")
_NOW = struct.Struct("<d")

PROBE: Final = TakeRequest("", "probe", ClassLimits(None, None, None, (), None, 0, lifetime_us=1))
"""A take from no bucket, for an account that no check can name. It writes a reservation that ends at once."""


class TakeLane:
    """Carries one batch of checks as one call. A call whose reply was lost is repeated once: the script knows uploads
    it has charged."""

    def __init__(self, line: Line, scripts: ScriptPair, prefix: str, stats: Stats) -> None:
        self._line = line
        self._scripts = scripts
        self._prefix = prefix
        self._stats = stats

    def call(self, items: Sequence[TakeRequest], within_s: float) -> Coroutine[Any, Any, list[TakeResult]]:
        """See batcher.Lane."""
        self._stats.calls += 1
        self._stats.checks += len(items)
        return self._take(items, within_s)

    async def probe(self, within_s: float) -> None:
        """See batcher.Lane. Writes as a take does, so that a server that only reads does not pass for a sound one.

        To connect takes several round trips and is no part of a check. So it has more time.
        """
        self._stats.probes += 1
        await self._line.connect(CONNECT_WITHIN_S)
        self._scripts.described = ()  # the server may have lost the limits behind the tags of reservations
        await self._take((PROBE,), within_s)

    async def _take(self, items: Sequence[TakeRequest], within_s: float) -> list[TakeResult]:
        classes = {item.class_limits for item in items}
        for unrolled in self._scripts.described:
            if classes <= unrolled.packing.keys():  # nearly always
                batch = Batch(items, unrolled, self._prefix)
                (reply,) = await self._line.run((batch,), within_s, again=True)
                results = batch.read(reply)
                self._stats.unreadable += batch.unreadable
                return results
        parts = self._scripts.parts_of(items)
        clock = asyncio.get_running_loop().time
        until_s = clock() + within_s
        for part in parts:
            if not any(part.unrolled is each for each in self._scripts.described):
                await store_tags(self._line, self._prefix, part.unrolled, (until_s - clock()) / 2)
                self._scripts.note_described(part.unrolled)
        found = await self._run([(part.requests, part.unrolled) for part in parts], until_s - clock())
        if len(parts) == 1:
            return found[0]
        by_number = {
            n: result
            for part, results in zip(parts, found, strict=True)
            for n, result in zip(part.numbers, results, strict=True)
        }
        return [by_number[n] for n in range(len(items))]

    async def _run(
        self, parts: Sequence[tuple[Sequence[TakeRequest], Unrolled]], within_s: float
    ) -> list[list[TakeResult]]:
        """The answers to requests, by the script of each part of them."""
        batches = [Batch(requests, unrolled, self._prefix) for requests, unrolled in parts]
        replies = await self._line.run(batches, within_s, again=True)
        results = [batch.read(reply) for batch, reply in zip(batches, replies, strict=True)]
        self._stats.unreadable += sum(batch.unreadable for batch in batches)
        return results


@dataclass(frozen=True, slots=True)
class TakeWire:
    """How takes reach Redis: the lanes of the batcher, who learns the classes of a policy, and who closes the connections."""

    lanes: Sequence[Lane[TakeRequest, TakeResult]]
    expect: Callable[[Sequence[ClassLimits]], None]
    close: Callable[[], Awaitable[None]]


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
        self._peeks = line_to(url, "upload-gate-peek", self._stats)
        self._peeking = asyncio.Lock()
        self._prefix = prefix
        self._deadline_s = deadline_s
        if is_cluster(url):
            from gate.stores.redis.cluster_takes import cluster_wire  # here, because it builds on this module

            self._wire = cluster_wire(url, prefix, self._stats, lanes)
        else:
            self._wire = _single(url, prefix, self._stats, lanes)
        self._batcher: Batcher[TakeRequest, TakeResult] = Batcher(
            self._wire.lanes, deadline_s, max_batch, max_queue, attrgetter("class_limits.rank")
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
        await self._wire.close()
        await self._peeks.close()

    def take(self, request: TakeRequest) -> Coroutine[Any, Any, TakeResult]:
        """See TakeStore."""
        return self._batcher.submit(request)

    def take_many(self, requests: Sequence[TakeRequest]) -> Coroutine[Any, Any, list[TakeResult | Exception]]:
        """See TakeStore."""
        return self._batcher.submit_all(requests)

    async def peek(self, request: TakeRequest) -> Peek:
        """See TakeStore. On a connection of its own, so that no check waits for it. Waiting for it counts, too."""
        until_s = asyncio.get_running_loop().time() + self._deadline_s
        try:
            async with asyncio.timeout_at(until_s), self._peeking:
                return await peek(self._peeks, self._prefix, request, until_s)
        except TimeoutError:
            raise StoreUnavailable(f"Redis did not answer within {self._deadline_s * 1000:.0f} ms") from None

    def answer_within(self, deadline_s: float) -> None:
        """Bound each take from now on by `deadline_s`."""
        self._deadline_s = self._batcher.deadline_s = deadline_s

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """See TakeStore."""
        self._wire.expect(classes)


def _single(url: str, prefix: str, stats: Stats, lanes: int) -> TakeWire:
    scripts = ScriptPair((PROBE.class_limits,))  # a probe has the server compile what checks need
    lines = [single_line_to(url, "upload-gate-take", stats) for _ in range(lanes)]

    async def close() -> None:
        for line in lines:
            await line.close()

    return TakeWire([TakeLane(line, scripts, prefix, stats) for line in lines], scripts.expect, close)


class Batch:
    """One call for some checks, packed at once for all of them, and how to read its reply. See `script_call.ScriptCall`.

    `unreadable` counts the checks of the batch for which a stored value was not believed, once the reply is read.
    """

    __slots__ = ("_argument", "_hot", "_key_count", "_keys", "_unrolled", "first_key", "script", "unreadable")

    def __init__(
        self, requests: Sequence[TakeRequest], unrolled: Unrolled, prefix: str, due: str | None = None
    ) -> None:
        self.unreadable = 0
        self.script = unrolled.script
        self._unrolled = unrolled
        self._hot: dict[int, MetFact] = {}
        self.first_key, shared = shared_keys(prefix, unrolled.shared, due)
        keys = self._pack(requests, keys_under(prefix), shared)
        if not keys.isascii():
            lengths = [len(request.account) for request in requests]
            keys = self._pack(with_raw_names(requests), keys_under(prefix), shared, lengths)
        self._keys = keys.encode("latin-1")

    def packed(self, known: bool) -> bytes:
        """See `script_call.ScriptCall`."""
        return self.script.packed(known, self._key_count, self._keys, self._argument)

    def _pack(
        self, requests: Sequence[TakeRequest], keys: TakeKeys, shared: str, characters: Sequence[int] = ()
    ) -> str:
        """Packs the argument and returns the packed keys. `characters` are the lengths of accounts' ids where names are raw."""
        packing, encoding = self._unrolled.packing, "latin-1" if characters else "utf-8"
        begin_network, begin_device, begin_upload = keys.networks, keys.devices, keys.uploads
        shown, own = [shared], list[str]()
        given = [_COUNT.pack(len(requests))]
        flying = self._keys_in_flight(requests, keys, shown)
        count = 1 + len(self._unrolled.shared) + len(flying)
        accounts, networks, devices = dict[str, int](), dict[str, int](), dict[str, int]()
        for n, request in enumerate(requests):
            account, upload, ip, device = request.account, request.upload_id, request.ip, request.device
            number, alone, by_ip, by_device, packed = packing[request.class_limits]
            first, second, third, last, length, between = (
                keys.parts(len(account), characters[n]) if characters else keys[len(account)]
            )
            a = accounts.setdefault(account, count + 1)
            if a > count:
                count += 3
                shown.append(f"{first}{account}{second}{account}{third}{account}{last}")
            if len(upload) > LONGEST_UPLOAD:
                upload = upload_hash(upload.encode(encoding))
            own.append(f"{begin_upload[length + len(upload)]}{account}{between}{upload}\r\n")
            i = d = special = 0
            if by_ip and ip is not None:
                i = networks.setdefault(ip, count + 1)
                if i > count:
                    count = i
                    shown.append(f"{begin_network[len(ip)]}{ip}\r\n")
            if by_device and device is not None:
                d = devices.setdefault(device, count + 1)
                if d > count:
                    count = d
                    shown.append(f"{begin_device[len(device)]}{device}\r\n")
            now_us, size, kind, attempt = request.now_us, request.size, request.kind, request.attempt
            if request.hot is not None or request.keep_limits or now_us is not None:
                special = self._special(n, request)
            # `request.fingerprint`, in half the time
            what = f"{request.class_}\n{kind or ''}\n{size}\n{ip or ''}\n{device or ''}".encode(encoding)
            if alone is None:
                numbers = self._further(request, keys, flying)
                given += (packed(number, special, a, i, d, attempt, len(what), *numbers), what)
            elif alone:
                per_us, rate = alone
                cost = -(-size * per_us // rate)
                cost = cost if cost < NEVER_US else NEVER_US
                given += (packed(number, special, a, i, d, attempt, len(what), cost), what)
            else:
                given += (packed(number, special, a, i, d, attempt, len(what)), what)
            if now_us is not None:
                given.append(_NOW.pack(now_us))
        self._key_count = count + len(own)
        self._argument = b"".join(given)
        return "".join(shown) + "".join(own)

    def _keys_in_flight(self, requests: Sequence[TakeRequest], keys: TakeKeys, shown: list[str]) -> dict[str, int]:
        """Appends the keys of what is in flight, where limits count it; returns them with their numbers."""
        flying: dict[str, int] = {}
        flights, before = self._unrolled.flights, 1 + len(self._unrolled.shared)
        for request in requests if any(flights.values()) else ():
            for subject in flights[request.class_limits]:
                key = keys.in_flight(subject, request)
                if key and key not in flying:
                    flying[key] = before + len(flying) + 1
                    shown.append(key)
        return flying

    def _further(self, request: TakeRequest, keys: TakeKeys, flying: Mapping[str, int]) -> list[int]:
        """The costs of a request that count bytes, and the numbers of the keys of what is in flight."""
        limits = request.class_limits
        costs = [min(rate.cost_us(request.size), NEVER_US) for rate in limits.byte_rates]
        subjects = self._unrolled.flights[limits]
        return costs + [flying.get(keys.in_flight(subject, request), 0) for subject in subjects]

    def _special(self, n: int, request: TakeRequest) -> int:
        """The rare parts of a request: a hot fact, which is kept for the answer; limits to keep; a recorded clock."""
        special = _RECORDED if request.now_us is not None else 0
        if request.keep_limits:
            special += _KEEP_LIMITS
        if request.hot is not None:
            self._hot[n] = request.hot
            special += request.class_limits.refused_by(request.hot)
        return special

    def read(self, reply: Sequence[Any]) -> list[TakeResult]:
        """What the script answered, one for each request."""
        results: list[TakeResult] = []
        limits_by_class, unscored, charged_only = _limits(self._unrolled.classes), UNKNOWN, _CHARGED
        (clock,) = _NOW.unpack_from(reply[1])
        clock_us, times_at = int(clock), _NOW.size
        for flags, wait, class_, limit in _ANSWER.iter_unpack(reply[0]):
            if flags == charged_only and 0 < class_ < _TIMES_FOLLOW:  # without a score, let in, as nearly all are
                room = Room(limits_by_class[class_ - 1][limit - 1], int(wait))
                results.append(TakeResult(unscored, True, False, None, (), clock_us, room))
                continue
            standing, now_us = UNKNOWN, clock_us
            if class_ >= _TIMES_FOLLOW:
                class_ -= _TIMES_FOLLOW
                now, risk, scored_at, half_life, base = _TIMES.unpack_from(reply[1], times_at)
                times_at, now_us = times_at + _TIMES.size, int(now)
                if flags & _SCORED:
                    acts = not flags & _DOES_NOT_ACT
                    standing = Standing(risk, int(scored_at), None, int(half_life), base, now_us, acts)
            refusal: Refusal | None = None
            free: Room | None = None
            if class_:
                named = limits_by_class[class_ - 1][limit - 1]
                if flags & _CHARGED:
                    free = Room(named, int(wait))
                else:
                    refusal = Refusal(named.name, None if flags & _NEVER_FITS else int(wait))
            charged, repeated = flags & _CHARGED == _CHARGED, flags & _REPEATED == _REPEATED
            if repeated and not charged:  # the name of the limit comes with `with_more`
                refusal, repeated = Refusal("", int(wait)), False
            conflict = flags & _CONFLICT == _CONFLICT
            limits_of = "" if flags & _LIMITS else None
            resent = flags & _RESENT == _RESENT
            results.append(
                TakeResult(standing, charged, repeated, refusal, (), now_us, free, conflict, limits_of, resent)
            )
            if flags & _UNREADABLE:
                self.unreadable += 1
        for at, more in zip(reply[2::2], reply[3::2], strict=True):
            results[at], is_readable = with_more(results[at], more)
            self.unreadable += not is_readable
        for at, hot in self._hot.items():
            if not results[at].repeated:  # such an upload was let in before, and stays so
                results[at] = replace(results[at], standing=results[at].standing.meeting(hot))
        return results


@lru_cache(maxsize=64)
def _limits(classes: tuple[ClassLimits, ...]) -> tuple[tuple[Limit, ...], ...]:
    """All limits of each class, in the order of their numbers in the script."""
    return tuple(tuple(limit for each in one.entity_limits for limit in each.limits) for one in classes)
