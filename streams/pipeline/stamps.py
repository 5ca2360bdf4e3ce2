"""The stamps of a partition's scores: which state each follows from, and whether the account is at home there.

Whoever owns a partition makes one `Stamps`; it remembers the homes of the last few thousand accounts, because the same
ones come again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gate.core.score import Stamp
from streams.core.home import homes

MAX_REMEMBERED = 1 << 15
"""Accounts whose homes are remembered."""


class Stamps:
    """Stamps of one partition in one epoch. `counts` are the numbers of partitions that the topic has had.

    `generation` grows while the partition is owned, where all scores are made again.
    """

    def __init__(self, epoch: str, partition: int, counts: Sequence[int], generation: int) -> None:
        self.epoch = epoch
        self.partition = partition
        self.counts = tuple(counts)
        self.generation = generation
        self._homes: dict[str, int] = {}

    def learn(self, accounts: Iterable[str]) -> int:
        """Look up the homes of `accounts` at once; returns how many of them are at home elsewhere."""
        known = self._homes
        wanted = list(accounts)
        missing = [account for account in wanted if account not in known]
        if missing:
            if len(known) + len(missing) > MAX_REMEMBERED:
                known.clear()
                missing = wanted
            known.update(zip(missing, homes(missing, self.partition, self.counts), strict=True))
        return sum(not known[account] for account in wanted)

    def stamp(self, account: str, offset: int) -> Stamp:
        """The stamp of a score of an account that was learned last, made when `offset` was its last event."""
        return Stamp(self.epoch, offset, self.partition, self._homes[account], self.generation)
