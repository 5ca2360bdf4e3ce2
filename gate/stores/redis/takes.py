"""The take store in Redis (or Valkey), 7.0 or newer, on one server, or on a Cluster by `cluster_takes`.

`gate.stores.redis.layout` says which keys and values it keeps. It also reads `{prefix}score:{ACCOUNT}` and
`{prefix}override:{ACCOUNT}`, which its neighbours `scores` and `overrides` write. All keys of an account share a slot, and the
script names every key that it reads. A check is one script that reads and takes everything; up to 32 checks share a call.
`gate.stores.redis.unrolled` writes the script for the classes of a policy. Under a recorded clock (`TakeRequest.now_us`) buckets
and reservations are kept for an hour of the server's time, so such requests belong under a prefix of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from gate.core.limits.take import ClassLimits, Peek, TakeRequest, TakeResult
from gate.errors import StoreUnavailable
from gate.stores.redis.batcher import Batcher
from gate.stores.redis.cluster_takes import cluster_wire
from gate.stores.redis.connections.address import is_cluster
from gate.stores.redis.connections.connect import line_to, single_line_to
from gate.stores.redis.connections.line import Line, Stats
from gate.stores.redis.lane import Ended
from gate.stores.redis.limit_tags import store_tags
from gate.stores.redis.peeks import peek
from gate.stores.redis.take_batch import Batch
from gate.stores.redis.take_scripts import ScriptPair
from gate.stores.redis.take_wire import CONNECT_WITHIN_S, PROBE, TakeWire
from gate.stores.redis.unrolled import Unrolled


class TakeLane:
    """Carries one batch of checks as one call. A call whose reply was lost is repeated once: the script knows uploads
    it has charged."""

    def __init__(self, line: Line, scripts: ScriptPair, prefix: str, stats: Stats) -> None:
        self._line = line
        self._scripts = scripts
        self._prefix = prefix
        self._stats = stats

    def call(self, items: Sequence[TakeRequest], within_s: float) -> Coroutine[Any, Any, list[TakeResult]]:
        """See lane.Lane."""
        self._stats.calls += 1
        self._stats.checks += len(items)
        return self._take(items, within_s)

    def begin(
        self, items: Sequence[TakeRequest], until_s: float, ended: Callable[[Ended[TakeResult]], None]
    ) -> bool:  # fmt: skip
        """See lane.PromptLane. It begins what one script does whose tags the server keeps: nearly all batches."""
        batch = self._of_one_script(items)
        if batch is None or not self._line.begin(batch, until_s, partial(self._read, batch, until_s, ended)):
            return False
        self._stats.calls += 1
        self._stats.checks += len(items)
        return True

    def _of_one_script(self, items: Sequence[TakeRequest]) -> Batch | None:
        """The batch of one script whose tags the server keeps; None if it takes more."""
        classes = {item.class_limits for item in items}
        for unrolled in self._scripts.described:
            if classes <= unrolled.packing.keys():
                return Batch(items, unrolled, self._prefix)
        return None

    def _read(self, batch: Batch, until_s: float, ended: Callable[[Ended[TakeResult]], None], reply: Any) -> None:
        """Hand over the answers of a batch that was begun. A task handles a reply that cannot be read."""
        results: list[TakeResult] | None = None
        if isinstance(reply, list):
            try:
                results = batch.read(reply)
            except Exception:  # `_end` meets it again, and the batcher tells whom it concerns
                results = None
        if results is None:
            ended(partial(self._end, batch, reply, until_s))
            return
        self._stats.unreadable += batch.unreadable
        ended(results)

    async def _end(self, batch: Batch, reply: Any, until_s: float) -> list[TakeResult]:
        results = batch.read(await self._line.end(batch, reply, until_s))
        self._stats.unreadable += batch.unreadable
        return results

    async def probe(self, within_s: float) -> None:
        """See lane.Lane. Writes as a take does, so that a server that only reads does not pass for a sound one.

        To connect takes several round trips and is no part of a check. So it has more time.
        """
        self._stats.probes += 1
        await self._line.connect(CONNECT_WITHIN_S)
        self._scripts.described = ()  # the server may have lost the limits behind the tags of reservations
        await self._take((PROBE,), within_s)

    async def _take(self, items: Sequence[TakeRequest], within_s: float) -> list[TakeResult]:
        batch = self._of_one_script(items)
        if batch is not None:  # nearly always
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
        self._wire = (cluster_wire if is_cluster(url) else _single_wire)(url, prefix, self._stats, lanes)
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


def _single_wire(url: str, prefix: str, stats: Stats, lanes: int) -> TakeWire:
    scripts = ScriptPair((PROBE.class_limits,))  # a probe has the server compile what checks need
    lines = [single_line_to(url, "upload-gate-take", stats) for _ in range(lanes)]

    async def close() -> None:
        for line in lines:
            await line.close()

    return TakeWire([TakeLane(line, scripts, prefix, stats) for line in lines], scripts.expect, close)
