"""Writes scores to Redis, and tracks which scores Redis lacks while it is away.

Scoring goes on while Redis is away. All scores are in their topic, so a partition only remembers the offset of its
scores topic from which Redis may lack some, keeps that offset in its watermark, and reads those scores from the topic
when Redis is back. This takes no memory and loses nothing over any outage, even if the worker dies meanwhile. Two
workers may write one score twice, and fresh scores are written while older ones are still missing; stamps make that
harmless.

A Redis that was emptied, or restored from an old copy, is noticed by a mark that it keeps for each partition: up to
which offset of the scores topic it was filled. Every second the mark is compared with what was written last, and set
anew in the same step. One that is gone or older says from where scores are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from gate.errors import StateUnreadable, StoreUnavailable
from gate.ports.scores import EncodedScore, ScoreMirror
from gate.records.score import decode_score
from streams.worker.changelog import PartitionReader
from streams.worker.outage import Outage

PUT_WITHIN_S = 1.0
SLICES = 10
"""Parts of the time that an answer may take (`within`)."""
UNKNOWN_MARK = "?"
"""The mark that a worker expects before it has read one; no mark is written so."""
LONGEST_MARK = 19
"""Digits of the highest offset. Python refuses to read a number of thousands of them."""
CHUNK = 500


class ScoresToRedis:
    """One partition's scores. Redis may lack those from offset `missing_from` of the scores topic; None: no scores."""

    def __init__(self, store: ScoreMirror | None, redis: Outage, partition: int) -> None:
        """`store` None means that scores are read from the topic only; then Redis lacks nothing."""
        self.missing_from: int | None = None
        self._partition = partition
        self._store = store
        self._redis = redis
        self._end = 0
        self._missing_to = 0
        self._unwritten = 0
        self._in_doubt = 0
        self._mark: str | None = None
        self._has_resumed = False
        self._recovered = 0

    @property
    def missing(self) -> int:
        """About how many scores Redis lacks."""
        return 0 if self.missing_from is None else max(0, self._missing_to - self.missing_from) + self._unwritten

    def reopen(self, missing_from: int | None, end: int) -> None:
        """Restart from the watermark's `missing_from` and the scores topic's `end`.

        Batches that were given up and whose scores reached Redis will be folded again, to the same scores.
        """
        self.missing_from = None if self._store is None else missing_from
        self._end = self._missing_to = end
        self._unwritten = 0
        self._in_doubt = 0
        self._mark = None if end else ""  # nothing was ever written, so no mark is expected

    async def put(self, scores: Sequence[EncodedScore]) -> bool:
        """Write scores to Redis. Returns False if that fails, and while Redis lacks earlier ones after an outage."""
        if self._store is None or not scores:
            return True
        if self.missing_from is None or not self._redis.is_down:
            try:
                await within(PUT_WITHIN_S, self._store.put_scores(scores))
                return True
            except (StoreUnavailable, TimeoutError) as error:
                self._redis.down(str(error) or "no answer in time")
                if self.missing_from is None:
                    self.missing_from = self._end
        self._unwritten += 1
        return False

    def committed(self, unwritten: int, end: int | None, batches: int = 0) -> None:
        """Note that so many batches were committed, `unwritten` of them after `put` answered False.

        `end` is at least where their scores begin in the topic, None without any.
        """
        if end is not None:
            self._end = end
        if unwritten or self._in_doubt:
            self._missing_to = self._end
        self._unwritten -= unwritten
        self._in_doubt = max(0, self._in_doubt - batches)

    def mark(self) -> tuple[str, str]:
        """The mark that Redis should have by now, and the one it gets then (see `ScoreMirror.mark_filled`)."""
        filled_to = self._end if self.missing_from is None else min(self.missing_from, self._end)
        return UNKNOWN_MARK if self._mark is None else self._mark, str(filled_to)

    def compare_mark(self, found: str, offered: tuple[str, str], uncommitted: int) -> bool:
        """Learn what the mark was when `offered` was; True where Redis has lost scores that it had.

        Then it may also have lost those of the batches that are folded and not committed, of which there are
        `uncommitted`.
        """
        expected, following = offered
        if found == expected:
            self._mark = following
            return False
        self._mark = found
        is_mark = found.isascii() and found.isdecimal() and len(found) <= LONGEST_MARK
        filled_to = int(found) if is_mark else 0
        if self._store is None or filled_to >= int(following):
            return False
        self._has_resumed = expected == UNKNOWN_MARK
        self.missing_from = filled_to if self.missing_from is None else min(self.missing_from, filled_to)
        self._missing_to = self._end
        self._in_doubt = uncommitted
        return True

    def take_recovered(self) -> int:
        """How many scores were written again since the last call because an earlier owner left an older mark, or none: one that
        is killed wrote its last mark up to a second before. None if the topic has only aborted transactions behind it."""
        recovered, self._recovered = self._recovered, 0
        return recovered

    async def forget(self, accounts: Sequence[str], before_us: int) -> None:
        """Take the scores of accounts that are forgotten away from Redis; where it is away, they expire there."""
        if self._store is None or not accounts or self._redis.is_down:
            return
        try:
            async with asyncio.timeout(PUT_WITHIN_S * 5):
                await self._store.forget_scores(accounts, before_us)
        except (StoreUnavailable, TimeoutError) as error:
            self._redis.down(str(error) or "no answer in time")

    async def catch_up(self, bootstrap: str, topic: str) -> bool:
        """Write the missing scores; True when none is missing any more.

        Raises StoreUnavailable, TimeoutError, KafkaError.
        """
        if self.missing_from is None or self._store is None:
            return True
        start = self.missing_from
        async with PartitionReader(bootstrap, topic, self._partition) as reader:
            async for records in reader.since(start):
                scores, gone, gone_us = _what_is_left(records)
                for at in range(0, len(gone), CHUNK):
                    async with asyncio.timeout(PUT_WITHIN_S * 5):
                        await self._store.forget_scores(gone[at : at + CHUNK], gone_us)
                for at in range(0, len(scores), CHUNK):
                    async with asyncio.timeout(PUT_WITHIN_S * 5):
                        await self._store.put_scores(scores[at : at + CHUNK])
                self._recovered += len(scores) if self._has_resumed else 0
            reached = reader.end
        # no await from here: a batch that was not put was either read just now, or is still counted as missing
        if self._unwritten == 0 and self._in_doubt == 0 and reached >= self._missing_to:
            self.missing_from = None
            self._has_resumed = False
            return True
        self.missing_from = max(start, min(reached, self._end))
        return False


async def within(seconds: float, work: Coroutine[object, object, object]) -> None:
    """Wait for `work`, at most so long. Raises TimeoutError.

    The other partitions fold in the same event loop, and an answer that came meanwhile is not late. So the time is counted
    in slices: a slice that the loop spent on folding counts once, however long it took.
    """
    task = asyncio.ensure_future(work)
    try:
        for _ in range(SLICES):
            await asyncio.wait((task,), timeout=seconds / SLICES)
            if task.done():
                await task
                return
        raise TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))


def _what_is_left(records: Sequence[Any]) -> tuple[list[EncodedScore], list[str], int]:
    """The last score of each account in `records`; the accounts that were forgotten in them, and the time (µs) of the first
    that was: what is known of these accounts from before it is to be deleted.
    """
    scores: dict[str, EncodedScore] = {}
    gone: dict[str, None] = {}
    gone_us = 0
    for record in records:
        if record.value is None:
            account = (record.key or b"").decode(errors="replace")
            scores.pop(account, None)
            gone_us = gone_us or record.timestamp * 1_000
            gone[account] = None
        elif (score := _score(record.value)) is not None:
            scores[score.score.account] = score
    return list(scores.values()), list(gone), gone_us


def _score(value: bytes | None) -> EncodedScore | None:
    if value is None:
        return None
    try:
        return EncodedScore(decode_score(value), value)
    except StateUnreadable:
        return None
