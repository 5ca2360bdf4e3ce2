"""Account ids by their 32-bit number, for the members of features, of which the crowd keeps only numbers.

An attacker may choose the ids of accounts, and must not thereby choose their numbers: accounts of one number would count
as one, and an account would belong to the campaigns of another. So the number is Python's own hash of text, which has a
secret key in each process. Numbers are never written anywhere, and counts do not depend on them.

One slot holds the account that fell into it last. With `n` slots, an account is forgotten with probability
1 - exp(-m / n) after `m` further accounts. Ids are compared with their number, so none is taken for another one, except
for two ids of equal number.

Growth: eight bytes a slot, up to 2^21 slots (16 MB). The ids are those that the states have as keys.
"""

from __future__ import annotations

from collections.abc import Sequence

FIRST_SLOTS = 1 << 12
MAX_SLOTS = 1 << 21
SPARSE = 4
"""The table doubles after one account per this many slots."""


def account_number(account: str) -> int:
    """The number of an account in this process, 32 bits."""
    return hash(account) & 0xFFFF_FFFF


class AccountIds:
    """The ids of recent accounts. Mutable, used by one thread."""

    def __init__(self, max_slots: int = MAX_SLOTS) -> None:
        self._max_slots = max_slots
        self._slots: list[str | None] = [None] * min(FIRST_SLOTS, max_slots)
        self._mask = len(self._slots) - 1
        self._taken = 0

    def remember(self, accounts: Sequence[str], hashed: Sequence[int]) -> None:
        """Keep accounts by their numbers."""
        slots, mask = self._slots, self._mask
        for account, number in zip(accounts, hashed, strict=True):
            at = number & mask
            if slots[at] != account:
                slots[at] = account
                self._taken += 1
                if self._taken * SPARSE > mask < self._max_slots - 1:
                    slots *= 2  # each account is then in every slot that may be its own
                    mask = self._mask = len(slots) - 1

    def held(self, hashed: int) -> str | None:
        """The account with this number; None if it is not known any more."""
        account = self._slots[hashed & self._mask]
        return account if account is not None and account_number(account) == hashed else None
