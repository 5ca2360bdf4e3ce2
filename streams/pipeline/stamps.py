"""The stamps of a partition's scores: the state that a score follows from, and whether the partition is its home.

The owner of a partition makes one `Stamps`. It caches the homes of a few thousand accounts, because the same accounts
recur.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gate.core.score import Stamp
from streams.core.home import homes

MAX_REMEMBERED = 1 << 12
"""Accounts whose homes are remembered."""


class Stamps:
    """Stamps of one partition in one epoch. `counts` are the numbers of partitions that the topic has had.

    `generation` grows during an ownership if scores are made again at an offset.
    """

    def __init__(self, epoch: str, partition: int, counts: Sequence[int], generation: int) -> None:
        self.epoch = epoch
        self.partition = partition
        self.counts = tuple(counts)
        self.generation = generation
        self._homes: dict[str, int] = {}

    def begin_generation(self, now_us: int) -> None:
        """From now on stamps are later than all before at the same offset. A generation is no earlier than the clock."""
        self.generation = max(self.generation + 1, now_us // 1_000)

    def learn(self, accounts: Iterable[str]) -> int:
        """Look up the homes of `accounts` at once; returns how many of them are at home elsewhere."""
        known = self._homes
        wanted = list(accounts)
        if 2 * len(wanted) > MAX_REMEMBERED:  # few of so many are remembered; a larger table is slower than a new look
            found = homes(wanted, self.partition, self.counts)
            self._homes = dict(zip(wanted, found, strict=True))
            return found.count(0)
        missing = [account for account in wanted if account not in known]
        if missing:
            if len(known) + len(missing) > MAX_REMEMBERED:
                known.clear()
                missing = wanted
            known.update(zip(missing, homes(missing, self.partition, self.counts), strict=True))
        return list(map(known.__getitem__, wanted)).count(0)

    def stamp(self, account: str, offset: int) -> Stamp:
        """The stamp of a score of `account` after the event at `offset`. Pass the account to `learn` first."""
        return Stamp(self.epoch, offset, self.partition, self._homes[account], self.generation)
