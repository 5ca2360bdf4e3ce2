"""This worker's own counts: the members of every feature of one kind, of all its partitions.

A feature with two accounts or more has a row of packed members; the doorkeeper keeps a feature with one account. A full
table drops features that few accounts share, and of these the ones that were shared longest ago.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from streams.core.crowd import members as packed
from streams.core.crowd.doorkeeper import Doorkeeper
from streams.core.crowd.kinds import CEILING, Kind
from streams.core.crowd.members import FULL, SIZE, WHO
from streams.core.crowd.rows import Rows
from streams.core.crowd.tails import Tails, tails

KEEP_ALL = -2


class Own:
    """The members of one kind. Mutable, in memory, used by one thread. `open` sets `today`."""

    def __init__(self, kind: Kind) -> None:
        self.days = kind.days
        self.today = 0
        self.rows = Rows(kind.shared_bytes, self._worth)
        self.shared = self.rows.by_feature
        self.door = Doorkeeper(kind.lone_slots)
        self.settled: set[int] = set()
        """Features with partitions in the low 16 bits, whose counts cannot change any more today."""

    def open(self, today: int) -> None:
        """Set the current day; members age by the days that have passed."""
        self.today = today
        self.settled.clear()

    def knock(self, value: int, one: int) -> bool:
        """Note a member of a feature without a row. Returns whether the feature has a row now, by a second account."""
        door, today = self.door, self.today
        held = door.swapped(value, one)
        if not held or packed.age(held, today) >= self.days:
            return False
        if not (held ^ one) & WHO:
            door.put(value, _later(held, one, today))
            return False
        self.rows.put(value, packed.inserted(held.to_bytes(SIZE, "big"), one, today), None)
        return True

    def note(self, value: int, before: bytes, one: int) -> bool:
        """Note a member of a feature whose row `before` lacks it in this form. Returns whether the row changed."""
        today = self.today
        row, who = packed.live(before, today, self.days), one.to_bytes(SIZE, "big")[2:]
        at = packed.position(row, who)
        if at >= 0:
            held = int.from_bytes(row[at : at + SIZE], "big")
            one = _later(held, one, today)
            if one == held:
                return False
        elif len(row) >= FULL:
            at = self._replaced(value, row, one, who[:2])
            if at == KEEP_ALL:
                return False
        if at >= 0:
            row = row[:at] + row[at + SIZE :]
        self.rows.put(value, packed.inserted(row, one, today), before)
        return True

    def extend(self, value: int, before: bytes, ones: Sequence[int]) -> None:
        """Note members, each of another account, of a partition that has none in the row `before` of the feature, and no more
        than it may have. The same as a `note` of each, at less cost."""
        row, today = packed.live(before, self.today, self.days), self.today
        self.rows.put(value, packed.all_inserted(row, ones, today), before)

    def _replaced(self, value: int, row: bytes, one: int, partition: bytes) -> int:
        """The position of the member that a new one replaces; -1 if there is room, KEEP_ALL if it is no later."""
        count, at = packed.first_of(row, partition)
        if count < CEILING:
            return -1
        oldest = packed.age(int.from_bytes(row[at : at + SIZE], "big"), self.today)
        if oldest > packed.age(one, self.today):
            return at
        if oldest == 0:
            self.settled.add(value << 16 | one >> 32 & 0xFFFF)
        return KEEP_ALL

    def row(self, value: int) -> bytes:
        """The live members of a feature, also if there is only one."""
        row = self.shared.get(value)
        if row is None:
            held = self.door.held(value)
            row = held.to_bytes(SIZE, "big") if held else b""
        return packed.live(row, self.today, self.days)

    def by_partition(self, value: int) -> tuple[Counter[int], Counter[int]]:
        """The numbers of live accounts and of established accounts, by partition."""
        accounts: Counter[int] = Counter()
        established: Counter[int] = Counter()
        for _, firm, partition in packed.unpacked(self.row(value), self.today):
            accounts[partition] += 1
            established[partition] += firm
        return accounts, established

    def tails(self, partition: int, value: int) -> Tails:
        """The partition's counts of a feature today."""
        row, days = self.row(value), self.days
        high, low = divmod(partition & 0xFFFF, 256)
        if (
            row
            and not packed.age(int.from_bytes(row[:SIZE], "big"), self.today)  # the oldest member is the first
            and not packed.established(row)
            and row[2::SIZE].count(high) == len(row) // SIZE
        ):  # as most are that change: everybody showed it today
            return Tails(self.today, bytes([min(row[3::SIZE].count(low), CEILING)]) * days + bytes(days))
        shown = [(age, firm) for age, firm, owner in packed.unpacked(row, self.today) if owner == partition & 0xFFFF]
        return tails(self.today, shown, days)

    def may_exceed(self, partition: int, value: int, floor: int) -> bool:
        """False where the partition counts no more than `floor` accounts of a feature; at less cost than its counts."""
        row = self.shared.get(value)
        if row is None:  # one account or none
            return floor < 1
        return len(row) > floor * SIZE and row[3::SIZE].count(partition & 0xFF) > floor

    def _worth(self, row: bytes) -> int:
        living = len(packed.live(row, self.today, self.days))
        return living << 16 | 0xFFFF - packed.newest_age(row, self.today) if living else 0


def _later(held: int, one: int, today: int) -> int:
    """The later of two members of one account. On the same day it is established if either is."""
    held_age, age = packed.age(held, today), packed.age(one, today)
    if held_age == age:
        return held | one
    return one if age < held_age else held
