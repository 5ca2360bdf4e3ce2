"""One kind of feature: counts of this worker, counts that other workers published, and the sums of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.crowd import members as packed
from streams.core.crowd.heard import Heard
from streams.core.crowd.kinds import Kind
from streams.core.crowd.members import SIZE
from streams.core.crowd.own import Own
from streams.core.crowd.tails import Tails

Values = int | Sequence[int]
"""One value or several of one kind; 0 stands for none."""
MAX_READY = 65_536
"""Lone features that are kept ready besides their slots, and as many sums of shared ones: 130 bytes each."""
ACCOUNTS, UNESTABLISHED = 40, 20
"""A sum is three numbers in one: the accounts, those that are not established, so that the larger sum says more, and
those that are. Accounts stand above 40 bits, the established ones in the last 20."""
ESTABLISHED = (1 << UNESTABLISHED) - 1
ONE, ONE_ESTABLISHED = 1 << ACCOUNTS | 1 << UNESTABLISHED, 1 << ACCOUNTS | 1
"""The sum of a lone account."""
Numbers = NDArray[np.uint64]
_ESTABLISHED: Final = np.uint64(packed.ESTABLISHED)
_DAY: Final = np.uint64(packed.DAY)
_DAY_BITS: Final = np.uint64(packed.DAY_BITS)


def total(accounts: int, established: int) -> int:
    """All three numbers in one."""
    return accounts << ACCOUNTS | accounts - established << UNESTABLISHED | established


class CrowdTable:
    """The counts of one kind. Mutable, in memory, used by one thread.

    `shared`, `heard_of`, `door`, `noted` and `totals` are for the paths of `Crowd` that are walked for each upload.
    `noted` keeps of lone features who showed them today, if they did so twice in batches of few uploads, where that saves a
    look at the slots; `totals` keeps the sums of others.
    """

    def __init__(self, kind: Kind) -> None:
        self.days = kind.days
        self.floor = kind.floor
        self.own = Own(kind)
        self.heard = Heard(kind)
        self.shared = self.own.rows.by_feature
        self.settled = self.own.settled
        self.door = self.own.door
        self.heard_of = self.heard.rows.by_feature
        self.noted: dict[int, int] = {}
        self._passed_by = 0
        self.totals: dict[int, int] = {}

    def open(self, today: int) -> None:
        """Members and counts age by the days that have passed."""
        self.own.open(today)
        self.heard.open(today)
        self.noted.clear()
        self.totals.clear()

    def knock(self, value: int, one: int) -> bool:
        """A member of a feature that has no row, which the doorkeeper does not hold; whether it has a row now."""
        if value in self.totals:
            del self.totals[value]
        if value in self.noted:  # another feature may have taken its slot since
            noted = self.noted.pop(value)
            self.door.swapped(value, packed.day_bits(self.own.today) | noted)
        if len(self.noted) >= MAX_READY:  # those of the morning make room in time
            self._passed_by += 1
            if self._passed_by > MAX_READY:
                self._passed_by = 0
                self.noted.clear()
        return self.own.knock(value, one)

    def note_lone(self, values: Numbers, ones: Numbers) -> NDArray[np.intp]:
        """Note members of the open day for whose features that is simple; returns the places of the other ones.

        It is simple for a feature that nobody has shown before, and for one that only this member has shown, today.
        """
        door, noted = self.door, self.noted
        door.make_room(len(values))
        slots = door.pairs()
        wanted = np.empty((len(values), 2), np.uint64)
        wanted[:, 0] = values
        wanted[:, 1] = ones
        index = values & np.uint64(door.mask)
        held = slots[index]
        is_free = held[:, 0] != values
        is_known = ~is_free & (held[:, 1] == ones)
        if shared := [at for at, _ in self._known(values)]:
            is_free[shared] = is_known[shared] = False
        free = np.flatnonzero(is_free)
        if noted:
            lone = zip(free.tolist(), values[free].tolist(), strict=True)
            is_free[[at for at, value in lone if value in noted]] = False
        slots[index[is_free]] = wanted[is_free]
        door.took(len(free))
        # of two members of one feature, or two features of one slot, the last is there
        held = slots[index]
        is_free &= (held[:, 0] == values) & (held[:, 1] == ones)
        return np.flatnonzero(~(is_free | is_known))

    def most_of(self, values: Numbers) -> Numbers:
        """`sum_of` each value."""
        held = self.door.pairs()[values & np.uint64(self.door.mask)]
        member = held[:, 1]
        age = (np.uint64(self.own.today + 1 & packed.DAY) - (member >> _DAY_BITS)) & _DAY
        is_lone = (held[:, 0] == values) & (member != 0) & (age < self.days)
        found: Numbers = np.where(
            is_lone, np.where(member & _ESTABLISHED, np.uint64(ONE_ESTABLISHED), np.uint64(ONE)), np.uint64(0)
        )
        for at, value in self._known(values):
            found[at] = self.sum_of(value)
        found[values == 0] = 0
        return found

    def _known(self, values: Numbers) -> list[tuple[int, int]]:
        """Those of the features that several accounts share or that were heard of, each behind its place."""
        places = np.flatnonzero(self.own.rows.may_hold(values) | self.heard.rows.may_hold(values))
        shared, heard_of = self.shared, self.heard_of
        pairs = zip(places.tolist(), values[places].tolist(), strict=True)
        return [pair for pair in pairs if pair[1] in shared or pair[1] in heard_of]

    def most(self, values: Values) -> int:
        """The sum over all partitions of a feature; of several, of the one that most accounts share."""
        return self.sum_of(values) if isinstance(values, int) else max(map(self.sum_of, values), default=0)

    def sum_of(self, value: int) -> int:
        """The sum over all partitions of a feature."""
        ready = self.totals.get(value)
        if ready is not None:
            return ready
        if not value:
            return 0
        if value in self.shared or value in self.heard_of:
            return self.summed(value)
        door = self.door
        slots, at = door.slots, (value & door.mask) << 1
        if slots[at] != value:
            return 0
        one = slots[at + 1]
        if not one or packed.age(one, self.own.today) >= self.days:
            return 0
        return ONE_ESTABLISHED if one & packed.ESTABLISHED else ONE

    def summed(self, value: int) -> int:
        """The sum over all partitions of a feature that is shared or was heard of; it is kept ready."""
        row = self.heard_of.get(value)
        if row is None:
            members = self.own.row(value)
            both = total(len(members) // SIZE, packed.established(members))
        else:
            both = self._merged(value, row)
        if len(self.totals) >= 2 * MAX_READY:
            self.totals.clear()
        self.totals[value] = both
        return both

    def may_be_published(self, partition: int, value: int) -> bool:
        """False where no more than the floor's accounts of the partition are known; at less cost than `known`."""
        return value in self.heard_of or self.own.may_exceed(partition, value, self.floor)

    def known(self, partition: int, value: int) -> Tails:
        """What is known of one partition: what was counted here merged with what was heard."""
        counts, heard = self.own.tails(partition, value), self.heard.tails(partition, value)
        return counts if heard is None else counts.merged(heard)

    def _merged(self, value: int, row: bytes) -> int:
        """A partition counts with what was heard of it or with what was counted here, whichever is more."""
        accounts, established = self.own.by_partition(value)
        for partition, heard, firm in self.heard.counts(row):
            accounts[partition] = max(accounts[partition], heard)
            established[partition] = max(established[partition], firm)
        return total(accounts.total(), established.total())
