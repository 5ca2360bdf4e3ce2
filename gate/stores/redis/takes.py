"""The take store in Redis (or Valkey), 7.0 or newer, standalone.

    {prefix}u:LENGTH:{ACCOUNT}:UPLOAD that an upload was charged and what was answered, for its lifetime
    {prefix}b:ENTITY                  all buckets of one entity: limit id and TAT of each, until a minute after all are
                                      full; the minute covers a server clock that steps back

It also reads `{prefix}score:{ACCOUNT}` and `{prefix}override:{ACCOUNT}`, which its neighbours `scores` and `overrides`
write. Limits are found by a hash of their name, so a policy may add, remove and reorder them. A check is one script that
reads and takes everything; up to 32 checks share a call. Under a recorded clock (`TakeRequest.now_us`) buckets and
uploads are kept for an hour of the server's time, so such requests belong under a prefix of their own.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Final

from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.stores.redis.batcher import Batcher
from gate.stores.redis.line import Line, Run, Script, Stats
from gate.stores.redis.take_wire import Batch

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
