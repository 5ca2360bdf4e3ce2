"""Scores on their way to Redis, and what Redis is owed while it is away.

Redis away never stops scoring: scores are in their topic anyway, so a partition only remembers the offset of its
scores topic from which Redis may lack some, puts that into its watermark, and reads them from the topic when Redis is
back. So nothing is lost over any outage, with no memory, not even when the worker dies meanwhile. Two workers may
write one score twice; its stamp makes that harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gate.errors import StateUnreadable, StoreUnavailable
from gate.ports.scores import EncodedScore, ScoreStore
from gate.records.score import decode_score
from streams.worker.changelog import PartitionReader
from streams.worker.outage import Outage

PUT_WITHIN_S = 1.0
CHUNK = 500


class ScoresToRedis:
    """What of one partition's scores Redis may not have: those from offset `since` of its scores, None for none."""

    def __init__(self, store: ScoreStore | None, redis: Outage) -> None:
        """`store` None means that scores are read from the topic only; then nothing is ever owed."""
        self._store = store
        self._redis = redis
        self.since: int | None = None
        self._end = 0
        self._unwritten = 0

    @property
    def count(self) -> int:
        """About how many scores are owed."""
        return 0 if self.since is None else max(0, self._end - self.since) + self._unwritten

    def reopen(self, since: int | None, end: int) -> None:
        """Start anew from the watermark's `since` and the scores topic's `end`.

        Batches that were given up and whose scores reached Redis will be folded again, to the same scores.
        """
        self.since = None if self._store is None else since
        self._end = end
        self._unwritten = 0

    async def put(self, scores: Sequence[EncodedScore]) -> bool:
        """Write scores to Redis; False where that failed or is not tried, because it owes already."""
        if self._store is None or not scores:
            return True
        if self.since is None:
            try:
                async with asyncio.timeout(PUT_WITHIN_S):
                    await self._store.put_scores(scores)
                return True
            except (StoreUnavailable, TimeoutError) as error:
                self._redis.down(str(error) or "no answer in time")
                if self.since is None:
                    self.since = self._end
        self._unwritten += 1
        return False

    def committed(self, unput: int, end: int | None) -> None:
        """Batches were committed; `unput` is for how many `put` answered False, `end` at least where their scores
        begin, None without any."""
        if end is not None:
            self._end = end
        self._unwritten -= unput

    async def pay(self, bootstrap: str, topic: str, partition: int) -> bool:
        """Write what is owed; True when nothing is owed any more. Raises StoreUnavailable, TimeoutError, KafkaError."""
        if self.since is None or self._store is None:
            return True
        since = self.since
        async with PartitionReader(bootstrap, topic, partition) as reader:
            async for records in reader.since(since):
                scores = [s for s in map(_scored, (r.value for r in records)) if s is not None]
                for at in range(0, len(scores), CHUNK):
                    async with asyncio.timeout(PUT_WITHIN_S * 5):
                        await self._store.put_scores(scores[at : at + CHUNK])
            reached = reader.end
        # no await from here: a batch that was not put must either have been read just now or keep the debt open
        if self._unwritten == 0 and reached >= self._end:
            self.since = None
            return True
        self.since = max(since, min(reached, self._end))
        return False


def _scored(value: bytes | None) -> EncodedScore | None:
    if value is None:
        return None
    try:
        return EncodedScore(decode_score(value), value)
    except StateUnreadable:
        return None
