"""Keyed hashes as numbers: of networks and devices, equal to the names of their buckets in the gate, of contents and hosts.

Without the key nobody can make a host or a content that counts as another one.

The caller of the pipeline makes one `Hashes` and passes it in. It caches some networks, devices and hosts, because the same
ones recur.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b

from gate.core.pseudonym import Pseudonyms, salt_mark
from streams.core.crowd import AccountNumbers

MAX_REMEMBERED = 1 << 11
"""Values of one kind that are remembered. A batch has the events of an account one after the other, so few suffice; four
times as many leave the cache of the processor, which took 2 µs an event of 100,000 accounts."""


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
    """The numbers of accounts under one salt, equal in all processes that have it.

    They are not remembered: a table of recent accounts misses nearly all of 100,000, and one of all accounts waits for memory
    as long as hashing takes. So the caller numbers each account once a batch.
    """
    return AccountNumbers(partial(_number, _hasher(salt, 4, b"account").copy), salt_mark(salt))


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
