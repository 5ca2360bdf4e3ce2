"""Keyed hashes of networks and devices as numbers, equal to the names of their buckets in the gate.

The caller of the pipeline makes one `Hashes` and passes it in. It caches a few thousand networks and devices, because
the same ones recur.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b

from gate.core.pseudonym import Pseudonyms

MAX_REMEMBERED = 1 << 13
"""Values of one kind that are remembered."""


class Hashes:
    """Hashes under one salt. Grows to `most` values of each kind, then begins again.

    `networks` has 64 bits, never 0, for the network of every address, and raises ValueError for what is no address;
    `devices` has 64 bits for every device.
    """

    def __init__(self, salt: bytes, most: int = MAX_REMEMBERED) -> None:
        names = Pseudonyms(salt)
        self.networks: Mapping[str, int] = Remembered(names.number_of_ip, most)
        self.devices: Mapping[str, int] = Remembered(names.number_of_device, most)
        self._mark = blake2b(blake2b(salt, digest_size=32).digest(), digest_size=4, person=b"mark")

    def mark(self, value: str) -> bytes:
        """Four bytes for any other value, such as an event's id; they are not remembered."""
        hasher = self._mark.copy()
        hasher.update(value.encode())
        return hasher.digest()


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
