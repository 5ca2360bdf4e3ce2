"""Account ids by their 32-bit number, for the members of features, of which the crowd keeps only numbers.

An attacker may choose the ids of accounts, and must not thereby choose their numbers: accounts of one number would count
as one, and an account would belong to the campaigns of another. So numbers are made under a secret key. Workers share one
key, so that another worker and the next process know whom a record names. Without that key the number is Python's own hash
of text, whose key differs in each process; such numbers are never written anywhere. Counts do not depend on numbers.

One slot holds the account that fell into it last. With `n` slots, an account is forgotten with probability
1 - exp(-m / n) after `m` further accounts. Ids are compared with their number, so none is taken for another one, except
for two ids of equal number.

Growth: twelve bytes a slot, up to 2^21 slots (24 MB). The ids are those that the states have as keys.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

FIRST_SLOTS = 1 << 12
MAX_SLOTS = 1 << 21
SPARSE = 4
"""The table doubles after one account per this many slots."""


def account_number(account: str) -> int:
    """The number of an account in this process, 32 bits."""
    return hash(account) & 0xFFFF_FFFF


class AccountNumbers(NamedTuple):
    """How accounts are numbered. `of` gives the 32-bit number of an account.

    `key` identifies the secret key; it is empty for numbers that mean nothing in another process.
    """

    of: Callable[[str], int]
    key: str


OF_PROCESS: Final = AccountNumbers(account_number, "")


class AccountIds:
    """The ids of recent accounts. Mutable, used by one thread."""

    def __init__(self, max_slots: int = MAX_SLOTS) -> None:
        self._max_slots = max_slots
        self._slots: list[str | None] = [None] * min(FIRST_SLOTS, max_slots)
        self._numbers = array("I", bytes(4 * len(self._slots)))
        """The number of the account in each slot, as hashing it again would take several times as long."""
        self._mask = len(self._slots) - 1
        self._taken = 0

    def remember(self, accounts: Sequence[str], hashed: Sequence[int]) -> None:
        """Keep accounts by their numbers."""
        slots, numbers, mask = self._slots, self._numbers, self._mask
        for account, number in zip(accounts, hashed, strict=True):
            at = number & mask
            if slots[at] != account:
                slots[at], numbers[at] = account, number
                self._taken += 1
                if self._taken * SPARSE > mask < self._max_slots - 1:
                    slots *= 2  # each account is then in every slot that may be its own
                    numbers *= 2
                    mask = self._mask = len(slots) - 1

    def held(self, hashed: int) -> str | None:
        """The account with this number; None if it is not known any more."""
        at = hashed & self._mask
        return self._slots[at] if self._numbers[at] == hashed else None
