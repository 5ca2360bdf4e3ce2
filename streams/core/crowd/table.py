"""One kind of feature: what is counted here and what is heard of others, and the sums of both that are kept ready."""

from __future__ import annotations

from streams.core.crowd import members as packed
from streams.core.crowd.heard import Heard
from streams.core.crowd.kinds import Kind
from streams.core.crowd.members import SIZE
from streams.core.crowd.own import Own
from streams.core.crowd.tails import Tails

MAX_TOTALS = 65_536
"""Sums that are kept ready."""
ACCOUNTS = 20
"""A sum is its accounts above 20 bits of those that are not established, so that the larger sum says more."""
UNESTABLISHED = (1 << ACCOUNTS) - 1
ONE, ONE_ESTABLISHED = 1 << ACCOUNTS | 1, 1 << ACCOUNTS
"""The sum of a lone account."""


def total(accounts: int, established: int) -> int:
    """Both numbers as one."""
    return accounts << ACCOUNTS | accounts - established


def split(both: int) -> tuple[int, int]:
    """Accounts, and the established ones."""
    accounts = both >> ACCOUNTS
    return accounts, accounts - (both & UNESTABLISHED)


class Table:
    """The counts of one kind. Mutable, in memory, used by one thread.

    `shared`, `heard_of`, `door` and `totals` are for the paths of `Crowd` that are walked for each upload.
    """

    def __init__(self, kind: Kind) -> None:
        self.days = kind.days
        self.own = Own(kind)
        self.heard = Heard(kind)
        self.shared = self.own.rows.by_feature
        self.settled = self.own.settled
        self.door = self.own.door
        self.heard_of = self.heard.rows.by_feature
        self.totals: dict[int, int] = {}

    def open(self, today: int) -> None:
        """Members and counts age by the days that have passed."""
        self.own.open(today)
        self.heard.open(today)
        self.totals.clear()

    def summed(self, value: int) -> int:
        """The sum over all partitions of a feature that is shared or was heard of; it is kept ready."""
        row = self.heard_of.get(value)
        if row is None:
            members = self.own.row(value)
            both = total(len(members) // SIZE, packed.established(members))
        else:
            both = self._merged(value, row)
        if len(self.totals) >= MAX_TOTALS:
            self.totals.clear()
        self.totals[value] = both
        return both

    def lone(self, one: int) -> int:
        """The sum of a feature that one account showed, if it lives."""
        if not one or packed.age(one, self.own.today) >= self.days:
            return 0
        return ONE_ESTABLISHED if one & packed.ESTABLISHED else ONE

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
