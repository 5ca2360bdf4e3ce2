"""Keyed hashes as numbers: of networks and devices, equal to the names of their buckets in the gate, of contents and hosts.

Without the key nobody can make a host or a content that counts as another one.

The caller of the pipeline makes one `Hashes` and passes it in. It caches a few thousand networks, devices and hosts, because
the same ones recur.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from hashlib import blake2b
from typing import Final

import numpy as np

from gate.core.pseudonym import Pseudonyms, salt_mark
from streams.core.crowd import MANY, AccountNumbers

MAX_REMEMBERED = 1 << 13
"""Values of one kind that are remembered."""
ACCOUNT_SLOTS: Final = 1 << 20
_LOW: Final = 0xFFFF_FFFF
_HALF: Final = np.uint64(32)


class Hashes:
    """Hashes under one salt. Grows to `most` values of each kind, then begins again.

    `networks` has 64 bits, never 0, for the network of every address, and raises ValueError for text that is not an
    address; `devices` has 64 bits for every device, `hosts` for every link host.
    """

    def __init__(self, salt: bytes, most: int = MAX_REMEMBERED) -> None:
        names = Pseudonyms(salt)
        self.networks: Mapping[str, int] = Remembered(names.number_of_ip, most)
        self.devices: Mapping[str, int] = Remembered(names.number_of_device, most)
        self.hosts: Mapping[str, int] = Remembered(partial(_number, _hasher(salt, 8, b"host").copy), most)
        # bound once, because each upload calls both
        self.content = partial(_number, _hasher(salt, 8, b"content").copy)
        self._of_mark = _hasher(salt, 4, b"mark").copy

    def mark(self, value: str) -> bytes:
        """Four bytes for any other value, such as an event's id; they are not remembered."""
        hasher = self._of_mark()
        hasher.update(value.encode())
        return hasher.digest()


def account_numbers(salt: bytes) -> AccountNumbers:
    """The numbers of accounts under one salt, equal in all processes that have it."""
    numbers = NumberTable(partial(_number, _hasher(salt, 4, b"account").copy))
    return AccountNumbers(numbers.of, numbers.all, salt_mark(salt))


def _hasher(salt: bytes, size: int, kind: bytes) -> blake2b:
    return blake2b(blake2b(salt, digest_size=32).digest(), digest_size=size, person=kind)


def _number(copied: Callable[[], blake2b], value: str) -> int:
    hasher = copied()
    hasher.update(value.encode())
    return int.from_bytes(hasher.digest(), "little") or 1


class Remembered(dict[str, int]):
    """Hashes by value. A value that is not there is hashed and remembered; a full table is emptied first."""

    def __init__(self, hashed: Callable[[str], int], most: int) -> None:
        super().__init__()
        self._hashed = hashed
        self._most = most

    def __missing__(self, value: str) -> int:
        number = self._hashed(value) or 1
        if len(self) >= self._most:
            self.clear()
        self[value] = number
        return number


class NumberTable:
    """The numbers of accounts by Python's own hash of them, as hashing the id of an account anew takes longer.

    A slot holds the last account that fell into it, by 32 bits of its hash: the key of that hash is the process's own, so
    nobody can choose two accounts that one slot takes for each other. Growth: 2^20 slots of 8 bytes.
    """

    def __init__(self, hashed: Callable[[str], int], slots: int = ACCOUNT_SLOTS) -> None:
        self._hashed = hashed
        self._slots = np.zeros(slots, np.uint64)
        self._mask = slots - 1

    def of(self, account: str) -> int:
        """The number of one account."""
        key = hash(account)
        at = key & self._mask
        held = int(self._slots[at])
        if held and held >> 32 == key >> 32 & _LOW:
            return held & _LOW
        number = self._hashed(account)
        self._slots[at] = (key >> 32 & _LOW) << 32 | number
        return number

    def all(self, accounts: Collection[str]) -> dict[str, int]:
        """The numbers of different accounts, in their order; at less cost for many."""
        if len(accounts) < MANY:
            return {account: self.of(account) for account in accounts}
        keys = np.fromiter(map(hash, accounts), np.int64, len(accounts)).view(np.uint64)
        held = self._slots[keys & np.uint64(self._mask)]
        is_known = (held != 0) & (held >> _HALF == keys >> _HALF)
        numbers = dict(zip(accounts, (held & np.uint64(_LOW)).tolist(), strict=True))
        if not is_known.all():
            names = list(accounts)
            for place in np.flatnonzero(~is_known).tolist():
                numbers[names[place]] = self.of(names[place])
        return numbers
