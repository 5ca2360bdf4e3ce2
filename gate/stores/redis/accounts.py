"""The account store in Redis (or Valkey), 7.0 or newer, standalone.

    {prefix}score:{ACCOUNT}           risk, at, offset, epoch, then the score as JSON; kept 90 days after its last update
    {prefix}override:{ACCOUNT}        a staff override, until it expires
    {prefix}u:LENGTH:{ACCOUNT}:UPLOAD that an upload was charged and what was answered, for its lifetime
    {prefix}b:ENTITY                  all buckets of one entity: limit id and TAT of each, until a minute after all are
                                      full; the minute covers a server clock that steps back

Limits are found by a hash of their name, so a policy may add, remove and reorder them. A check is one script that
reads and takes everything; up to 32 checks share a call. Under a recorded clock (`TakeRequest.now_us`) buckets and uploads are
kept for an hour of the server's time, so such requests belong under a prefix of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.override import Override
from gate.core.score import Score
from gate.ports.scores import EncodedScore
from gate.stores.redis.batcher import Batcher
from gate.stores.redis.line import (
    Line,
    Run,
    Script,
    Stats,
)
from gate.stores.redis.take_wire import (
    Batch,
    override_key,
    pack_override,
    pack_score,
    score_key,
    unpack_score,
)

SCORE_TTL_MS = 90 * 86_400_000
SCORES_A_CALL = 64
SCORES_A_TURN = 1024
BULK_DEADLINE_S = 2.0


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
        batch = Batch(items, self._prefix)
        runs = (Run(self._script, (), batch.arguments),)
        self._stats.calls += 1
        self._stats.checks += len(items)
        (reply,) = await self._line.run(runs, within_s, again=True)
        return batch.read(reply)

    async def probe(self, within_s: float) -> None:
        """See batcher.Lane."""
        await self._line.execute(b"PING", within_s=within_s)


class RedisAccountStore:
    """An AccountStore; see ports for what it promises. Use it in one event loop, between open() and close().

    `deadline_s` bounds a take, waiting and one repetition included. `stats` counts what it has done.
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
        bulk_deadline_s: float = BULK_DEADLINE_S,
    ) -> None:
        self._prefix = prefix
        self._bulk_deadline_s = bulk_deadline_s
        self._stats = Stats()
        self._take_lines = [Line(url, "upload-gate-take", self._stats) for _ in range(lanes)]
        take = Script.named("take")
        self._batcher: Batcher[TakeRequest, TakeResult] = Batcher(
            [TakeLane(line, take, prefix, self._stats) for line in self._take_lines], deadline_s, max_batch, max_queue
        )
        self._put_scores = Script.named("put_scores")
        self._bulk = Line(url, "upload-gate-bulk", self._stats)
        self._bulk_lock = asyncio.Lock()

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
        for line in (*self._take_lines, self._bulk):
            await line.close()

    async def ping(self) -> None:
        """Return once the server answers. Raises StoreUnavailable."""
        async with self._bulk_lock:
            await self._bulk.execute(b"PING", within_s=self._bulk_deadline_s)

    def take(self, request: TakeRequest) -> Coroutine[Any, Any, TakeResult]:
        """See AccountStore."""
        return self._batcher.submit(request)

    def take_many(self, requests: Sequence[TakeRequest]) -> Coroutine[Any, Any, list[TakeResult | Exception]]:
        """See AccountStore."""
        return self._batcher.submit_all(requests)

    async def put_scores(self, scores: Sequence[EncodedScore]) -> int:
        """See AccountStore. Thousands at once are sent in pieces, so that checks get their turn between them."""
        stored = 0
        for runs in self._score_runs(scores):
            async with self._bulk_lock:
                stored += sum(await self._bulk.run(runs, self._bulk_deadline_s, again=True))
        return stored

    async def scores(self, accounts: Sequence[str]) -> list[Score | None]:
        """See AccountStore. Also raises StateUnreadable."""
        values: list[bytes | None] = []
        for start in range(0, len(accounts), SCORES_A_TURN):
            keys = [score_key(self._prefix, account) for account in accounts[start : start + SCORES_A_TURN]]
            async with self._bulk_lock:
                values += await self._bulk.execute(b"MGET", *keys, within_s=self._bulk_deadline_s)
        return [None if value is None else unpack_score(value) for value in values]

    async def put_override(self, account: str, override: Override) -> None:
        """See AccountStore."""
        expires_ms = max(1, -(-override.expires_at_us // 1000))
        command = (b"SET", override_key(self._prefix, account), pack_override(override), b"PXAT", expires_ms)
        async with self._bulk_lock:
            await self._bulk.execute(*command, within_s=self._bulk_deadline_s)

    def _score_runs(self, scores: Sequence[EncodedScore]) -> Iterator[list[Run]]:
        """The calls that store `scores`, some at a time, each packed only when its turn has come."""
        turn: list[Run] = []
        chunk: dict[str, bytes] = {}
        for scored in scores:
            key = score_key(self._prefix, scored.score.account)
            if len(chunk) == SCORES_A_CALL or key in chunk:  # a script reads all before it writes
                turn.append(self._score_run(chunk))
                chunk = {}
                if len(turn) == SCORES_A_TURN // SCORES_A_CALL:
                    yield turn
                    turn = []
            chunk[key] = pack_score(scored)
        if chunk:
            yield [*turn, self._score_run(chunk)]

    def _score_run(self, chunk: dict[str, bytes]) -> Run:
        return Run(self._put_scores, list(chunk), (SCORE_TTL_MS, *chunk.values()))
