"""Finds nearly equal perceptual hashes among a million in microseconds.

Two pictures are near if their hashes differ in few bits. Each table samples 14 bits of a hash and keeps the hashes
that agree in these bits side by side, in a cell. With enough tables two hashes within the distance share at least one
cell with a probability of 95 %, and nearer ones more often. Hashes of one cell are compared bit by bit, first by a
sample of 32 bits, so no distant hash is returned.

Growth: the memory is fixed by `capacity`, about 10 bytes per hash and table, which is 220 MB for a million hashes of
64 bits. A full memory drops the oldest hash, and a full cell drops its oldest, so recently shared hashes are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
"""One row per hash, one column for each 64 bits of it."""

CELL: Final = 80
"""Hashes kept side by side; a quarter more than a full memory puts into a cell on average."""
_FILL: Final = 64
NOTHING: Final = -1
BATCH: Final = 128
"""Hashes looked up at once: what is held meanwhile stays inside a processor's cache."""


@dataclass(frozen=True, slots=True)
class NearShape:
    """A kind of hash: its bits, the distance up to which two are near, the tables that find 95 % of such pairs.

    `sample_distance` is how far samples of 32 bits may be apart before the whole hashes are compared.
    """

    bits: int
    distance: int
    tables: int
    sample_distance: int


SHORT_HASH: Final = NearShape(64, 8, 23, 8)
LONG_HASH: Final = NearShape(256, 31, 19, 9)


def parse_hash(text: str) -> tuple[int, ...] | None:
    """The 64-bit words of a perceptual hash in hex, 16 or 64 digits of it; None for anything else."""
    if len(text) not in (16, 64) or not all(digit in "0123456789abcdefABCDEF" for digit in text):
        return None
    return tuple(int(text[start : start + 16], 16) for start in range(0, len(text), 16))


class NearHashes:
    """The last `capacity` hashes of one shape, each with a number of the caller's. Used by one thread.

    `seed` chooses the bits that the tables sample; the same seed finds the same pairs.
    """

    def __init__(self, shape: NearShape = SHORT_HASH, capacity: int = 1 << 20, seed: int = 11) -> None:
        if not 1 <= capacity <= 1 << 24:
            raise ValueError("a memory of near hashes holds 1 to 16,777,216 of them")
        random = np.random.default_rng(seed)
        self._shape = shape
        self._capacity = capacity
        self._key_bits = max(2, (max(capacity // _FILL, 1) - 1).bit_length())
        cells = 1 << self._key_bits
        weights = np.zeros((shape.bits, shape.tables))
        for table in range(shape.tables):
            weights[random.choice(shape.bits, self._key_bits, replace=False), table] = 2.0 ** np.arange(self._key_bits)
        self._weights = weights
        self._sample = np.sort(random.choice(shape.bits, 32, replace=False))
        self._offsets = np.arange(shape.tables, dtype=np.int64) * cells
        self._hashes: Hashes = np.zeros((capacity, shape.bits // 64), np.uint64)
        self._numbers: NDArray[np.int64] = np.full(capacity, NOTHING, np.int64)
        self._samples = np.zeros((shape.tables * cells, CELL), np.uint32)
        self._slots = np.full((shape.tables * cells, CELL), NOTHING, np.int32)
        self._written = np.zeros(shape.tables * cells, np.int64)
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, self._capacity)

    def nearest(self, hashes: Hashes) -> NDArray[np.int64]:
        """For each hash the number of the nearest stored one within the distance; NOTHING if there is none.

        Among equally near ones it is the smallest number.
        """
        found = np.full(len(hashes), NOTHING, np.int64)
        if self._count:
            for start in range(0, len(hashes), BATCH):
                self._look_up(hashes[start : start + BATCH], found[start : start + BATCH])
        return found

    def remember(self, hashes: Hashes, numbers: NDArray[np.int64]) -> None:
        """Keep hashes with the caller's numbers (0 or more); the oldest make room."""
        for start in range(0, len(hashes), self._capacity):
            self._remember(hashes[start : start + self._capacity], numbers[start : start + self._capacity])

    def _look_up(self, hashes: Hashes, found: NDArray[np.int64]) -> None:
        bits = _bits(hashes)
        cells = self._cells(bits)
        samples = self._samples[cells.ravel()].reshape(len(hashes), -1)
        samples ^= self._sampled(bits)[:, None]
        rows, columns = np.nonzero(np.bitwise_count(samples) <= self._shape.sample_distance)
        if not len(rows):
            return
        slots = self._slots[cells[rows, columns // CELL], columns % CELL]
        used = slots != NOTHING
        rows, slots = rows[used], slots[used]
        apart = np.bitwise_count(self._hashes[slots] ^ hashes[rows]).sum(axis=1)
        near = apart <= self._shape.distance
        rows, slots, apart = rows[near], slots[near], apart[near]
        numbers = self._numbers[slots]
        order = np.lexsort((numbers, apart, rows))
        row, first = np.unique(rows[order], return_index=True)
        found[row] = numbers[order][first]

    def _remember(self, hashes: Hashes, numbers: NDArray[np.int64]) -> None:
        slots = (np.arange(len(hashes)) + self._count) % self._capacity
        self._hashes[slots] = hashes
        self._numbers[slots] = numbers
        self._count += len(hashes)
        bits = _bits(hashes)
        cells = self._cells(bits).ravel()
        order = np.argsort(cells, kind="stable")
        ordered = cells[order]
        first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
        begins = np.flatnonzero(first)
        turn = np.arange(len(ordered)) - np.repeat(begins, np.diff(np.append(begins, len(ordered))))
        place = (self._written[ordered] + turn) % CELL
        item = order // self._shape.tables
        self._samples[ordered, place] = self._sampled(bits)[item]
        self._slots[ordered, place] = slots[item]
        np.add.at(self._written, ordered, 1)

    def _cells(self, bits: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The cell of each hash in each table: hashes × tables."""
        return (bits.astype(np.float64) @ self._weights).astype(np.int64) + self._offsets

    def _sampled(self, bits: NDArray[np.uint8]) -> NDArray[np.uint32]:
        packed = np.packbits(bits[:, self._sample], axis=1, bitorder="little")
        return np.ascontiguousarray(packed).view(np.uint32).ravel()


def _bits(hashes: Hashes) -> NDArray[np.uint8]:
    raw = np.ascontiguousarray(hashes, "<u8").view(np.uint8).reshape(len(hashes), -1)
    return np.unpackbits(raw, axis=1, bitorder="little")
