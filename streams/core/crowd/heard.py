"""The published counts of other workers, and of this one before its restart: the tails of each partition, of one kind.

A row has one segment per partition: two bytes of the partition, two of the day, then the tails' bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from streams.core.crowd.kinds import Kind
from streams.core.crowd.rows import Rows
from streams.core.crowd.tails import Tails

HEAD = 4
MAX_PARTITIONS = 1_024
"""The most partitions that are kept of one feature; counts of further ones are refused."""
UNKNOWN = -1
"""The current day before the first event has set it."""


class Heard:
    """Tails by feature and partition. Mutable, in memory, used by one thread. `open` sets `today`."""

    def __init__(self, kind: Kind) -> None:
        self.days = kind.days
        self.today = UNKNOWN
        self.rows = Rows(kind.heard_bytes, self._worth)
        self._segment = HEAD + 2 * kind.days

    def open(self, today: int) -> None:
        """Set the current day; counts age by the days that have passed."""
        self.today = today

    def hear(self, partition: int, value: int, counts: Tails) -> Tails | None:
        """Merge the partition's tails with the stored ones. Returns the merged tails, or None if nothing changed."""
        before = self.rows.by_feature.get(value)
        row, key = before or b"", partition.to_bytes(2, "big")
        for at in range(0, len(row), self._segment):
            if row[at : at + 2] == key:
                old = self._tails(row, at)
                now = counts if self._is_beyond(old.day) else old.merged(counts)
                if now == old:
                    return None
                self.rows.put(value, row[:at] + self._packed(key, now) + row[at + self._segment :], before)
                return now
        if len(row) >= MAX_PARTITIONS * self._segment:
            return None
        self.rows.put(value, row + self._packed(key, counts), before)
        return counts

    def tails(self, partition: int, value: int) -> Tails | None:
        """The stored tails of the partition."""
        row, key = self.rows.by_feature.get(value, b""), partition.to_bytes(2, "big")
        for at in range(0, len(row), self._segment):
            if row[at : at + 2] == key:
                found = self._tails(row, at)
                return None if self._is_beyond(found.day) else found
        return None

    def counts(self, row: bytes) -> Iterator[tuple[int, int, int]]:
        """The number of each partition in a row, with its live accounts and established accounts.

        A day that is ahead of today counts unchanged: an account that showed the feature in a later window did show it.
        """
        days, today = self.days, self.today
        for at in range(0, len(row), self._segment):
            passed = today - (row[at + 2] << 8 | row[at + 3]) if today >= 0 else 0
            if -days <= passed < days:
                first = at + HEAD + max(passed, 0)
                if row[first]:
                    yield row[at] << 8 | row[at + 1], row[first], row[first + days]

    def _is_beyond(self, day: int) -> bool:
        """Whether a day lies so far ahead that no worker can have reached it."""
        return 0 <= self.today < day - self.days

    def _tails(self, row: bytes, at: int) -> Tails:
        return Tails(row[at + 2] << 8 | row[at + 3], row[at + HEAD : at + self._segment])

    def _packed(self, partition: bytes, counts: Tails) -> bytes:
        return partition + counts.day.to_bytes(2, "big") + counts.numbers

    def _worth(self, row: bytes) -> int:
        newest = max(row[at + 2] << 8 | row[at + 3] for at in range(0, len(row), self._segment))
        return sum(accounts for _, accounts, _ in self.counts(row)) << 16 | newest
