"""Which partition an account's key belongs to: the home of an account.

Kafka's clients in Java, and this project's, choose it by the hash murmur2 of the key. Keys are hashed many at once,
because one at a time costs as much as folding an event.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_M = np.uint32(0x5BD1E995)
_SEED = 0x9747B28C
_POSITIVE = np.uint32(0x7FFF_FFFF)


def homes(accounts: Sequence[str], partition: int, counts: Sequence[int]) -> list[int]:
    """For each account the largest of `counts` with which its key belongs to `partition`. `counts` are the numbers of
    partitions that the topic has had. It is 0 if no count fits: the partition is foreign to the account."""
    hashed = murmur2([account.encode() for account in accounts]) & _POSITIVE
    found = np.zeros(len(accounts), np.int64)
    for count in sorted(counts):
        found[hashed % np.uint32(count) == partition] = count
    at_home: list[int] = found.tolist()
    return at_home


def murmur2(keys: Sequence[bytes]) -> NDArray[np.uint32]:
    """The 32-bit hash that Kafka's default partitioner makes of each key."""
    joined = np.frombuffer(b"".join(keys), np.uint8)
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    starts = np.cumsum(lengths) - lengths
    hashes = np.zeros(len(keys), np.uint32)
    for length in np.unique(lengths).tolist():
        places = np.flatnonzero(lengths == length)
        hashes[places] = _of_length(joined[starts[places, None] + np.arange(length)], length)
    return hashes


def _of_length(data: NDArray[np.uint8], length: int) -> NDArray[np.uint32]:
    hashed = np.full(len(data), (_SEED ^ length) & 0xFFFF_FFFF, np.uint32)
    whole = length & ~3
    if whole:
        words = np.ascontiguousarray(data[:, :whole]).view("<u4")
        for at in range(whole // 4):
            word = words[:, at] * _M
            word ^= word >> np.uint32(24)
            word *= _M
            hashed *= _M
            hashed ^= word
    if length > whole:
        for at in range(length - whole - 1, -1, -1):
            hashed ^= data[:, whole + at].astype(np.uint32) << np.uint32(8 * at)
        hashed *= _M
    hashed ^= hashed >> np.uint32(13)
    hashed *= _M
    hashed ^= hashed >> np.uint32(15)
    return hashed
