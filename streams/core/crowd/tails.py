"""Counts that age by themselves and can be merged in any order.

A partition's counts of a feature are two tails, one byte a day: for each day of the window, the oldest first, how many
distinct accounts showed the feature on that day **or later**, and how many of those were established. The first number
is the count; as days pass, the later numbers replace it. A tail stays true: an account that showed the feature after a
day did so regardless of restarts. So two tails of one partition are merged by taking the larger number of each day.
That never counts an account that did not exist, and does not depend on order or repetition.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import le

import msgspec

from streams.core.crowd.kinds import CEILING


class Tails(msgspec.Struct, frozen=True, gc=False):
    """`numbers` are the accounts of each day of the window that ends with `day`, then the established ones."""

    day: int
    numbers: bytes

    def at(self, day: int) -> Tails:
        """The same counts on `day`, which is not before their own day."""
        days = len(self.numbers) // 2
        passed = min(day - self.day, days)
        if passed <= 0:
            return self
        gone = bytes(passed)
        return Tails(day, self.numbers[passed:days] + gone + self.numbers[days + passed :] + gone)

    def merged(self, other: Tails) -> Tails:
        """The larger number of each day, on the later day of both."""
        if self == other:
            return self
        day = max(self.day, other.day)
        return Tails(day, bytes(map(max, self.at(day).numbers, other.at(day).numbers)))


def tails(day: int, shown: Sequence[tuple[int, bool]], days: int) -> Tails:
    """The tails of accounts. `shown` gives the age in days of each account, and whether it is established."""
    numbers = [0] * (2 * days)
    for age, established in shown:
        numbers[days - 1 - age] += 1
        if established:
            numbers[2 * days - 1 - age] += 1
    for later in range(days - 1, 0, -1):
        numbers[later - 1] += numbers[later]
        numbers[days + later - 1] += numbers[days + later]
    return Tails(day, bytes(min(number, CEILING) for number in numbers))


def believed(day: int, accounts: list[int], established: list[int], days: int) -> Tails | None:
    """Tails from the untrusted numbers of a record; None if they are not counts.

    Lists of another length than the window's come from a worker with another window: the last days count, and the
    first number applies to the days before it. A number above the ceiling is reduced to the ceiling.
    """
    if not accounts or len(accounts) != len(established) or min(accounts) < 0 or min(established) < 0:
        return None
    if len(accounts) == days and accounts[0] <= CEILING and _are_tails(accounts, established):
        return Tails(day, bytes(accounts + established))
    missing = days - len(accounts)
    numbers = [*[accounts[0]] * missing, *accounts[-days:]]
    firm = [*[established[0]] * missing, *established[-days:]]
    for later in range(days - 1, 0, -1):
        numbers[later - 1] = max(numbers[later - 1], numbers[later])
        firm[later - 1] = max(firm[later - 1], firm[later])
    numbers = [min(number, CEILING) for number in numbers]
    return Tails(day, bytes(numbers + [min(pair) for pair in zip(firm, numbers, strict=True)]))


def _are_tails(accounts: list[int], established: list[int]) -> bool:
    falls = sorted(accounts, reverse=True) == accounts and sorted(established, reverse=True) == established
    return falls and all(map(le, established, accounts))
