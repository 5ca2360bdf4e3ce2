"""Finds nearly equal perceptual hashes among a million in microseconds.

Two pictures are near if their hashes differ in few bits. Each table has a key of some bits of a hash, and keeps hashes
of equal key side by side, in a cell. With enough tables two hashes within the distance share at least one cell with a
probability of 95 %, and nearer ones more often. Hashes of one cell are compared bit by bit, first by 32 bits that are
not of the key, so no distant hash is returned.

Four tables share 64 bits of a hash, which are chosen at random and cut into four parts: the key of each table is of a
part of its own. Two hashes that miss each other in one of them are likelier to meet in another, so fewer tables do.

Growth: the memory is fixed by `capacity`, about 10 bytes per hash and table, which is 300 MB for a million hashes of
64 bits, and is taken as it fills. A full memory drops the oldest hash, and a full cell drops its oldest, so recently
shared hashes are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
"""One row per hash, one column for each 64 bits of it."""

CELL: Final = 40
"""Hashes kept side by side; a quarter more than a full memory puts into a cell on average."""
_FILL: Final = 32
NOTHING: Final = -1
BATCH: Final = 128
"""Hashes looked up at once: what is held meanwhile stays inside a processor's cache."""
_PARTS: Final = 4
"""Tables that share 64 bits of a hash. Each has 16 of them for its keys, and no memory needs more."""
_MOST_HASHES: Final = _FILL << 16


@dataclass(frozen=True, slots=True)
class NearShape:
    """A kind of hash: its bits, the distance up to which two are near, the tables that find 95 % of such pairs.

    `sample_distance` is how far samples of 32 bits may be apart before the whole hashes are compared.
    """

    bits: int
    distance: int
    tables: int
    sample_distance: int


SHORT_HASH: Final = NearShape(64, 8, 27, 8)
LONG_HASH: Final = NearShape(256, 31, 22, 9)


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
        if not 1 <= capacity <= _MOST_HASHES:
            raise ValueError(f"a memory of near hashes holds 1 to {_MOST_HASHES:,} of them")
        random = np.random.default_rng(seed)
        self._shape = shape
        self._capacity = capacity
        cells = 1 << (-(-capacity // _FILL) - 1).bit_length()
        self._key_mask = np.uint16(cells - 1)
        groups = -(-shape.tables // _PARTS)
        self._chosen = np.concatenate([random.permutation(shape.bits)[:64] for _ in range(groups)])
        tables = np.arange(shape.tables)
        self._low, self._high = (tables // _PARTS * _PARTS + (tables + far) % _PARTS for far in (2, 3))
        self._offsets = tables * cells
        self._hashes: Hashes = np.zeros((capacity, shape.bits // 64), np.uint64)
        self._numbers: NDArray[np.int64] = np.full(capacity, NOTHING, np.int64)
        self._samples = np.zeros((shape.tables * cells, CELL), np.uint32)
        self._slots = np.zeros((shape.tables * cells, CELL), np.int32)
        self._written = np.zeros(shape.tables * cells, np.int32)
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
        cells, sampled = self._cells(hashes)
        samples = self._samples.take(cells.ravel(), axis=0)
        samples ^= sampled.reshape(-1, 1)
        alike = np.bitwise_count(samples) <= self._shape.sample_distance
        eights = np.flatnonzero(alike.reshape(-1).view(np.uint64))  # most groups of eight hold no match
        within, lane = np.nonzero(alike.reshape(-1, 8)[eights])
        at = eights[within] * 8 + lane
        cell, place = np.divmod(at, CELL)
        slots = self._slots[cells.ravel()[cell], place]
        rows = cell // self._shape.tables
        used = slots > 0
        rows, slots = rows[used], slots[used] - 1
        apart = np.bitwise_count(self._hashes[slots] ^ hashes[rows]).sum(axis=1)
        near = apart <= self._shape.distance
        rows, slots, apart = rows[near], slots[near], apart[near]
        if not len(rows):
            return
        numbers = self._numbers[slots]
        order = np.lexsort((numbers, apart, rows))
        row, first = np.unique(rows[order], return_index=True)
        found[row] = numbers[order][first]

    def _remember(self, hashes: Hashes, numbers: NDArray[np.int64]) -> None:
        slots = (np.arange(len(hashes)) + self._count) % self._capacity
        self._hashes[slots] = hashes
        self._numbers[slots] = numbers
        self._count += len(hashes)
        cells, sampled = self._cells(hashes)
        cells = cells.ravel()
        order = np.argsort(cells, kind="stable")
        ordered = cells[order]
        begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        counts = np.diff(np.append(begins, len(ordered)))
        written = self._written[ordered[begins]]
        place = (np.arange(len(ordered)) - np.repeat(begins - written, counts)) % CELL
        self._samples[ordered, place] = sampled.ravel()[order]
        self._slots[ordered, place] = slots[order // self._shape.tables] + 1  # 0 is an empty place
        self._written[ordered[begins]] = written + counts

    def _cells(self, hashes: Hashes) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """The cell of each hash in each table, and its sample there: hashes × tables."""
        raw = np.ascontiguousarray(hashes, "<u8").view(np.uint8).reshape(len(hashes), -1)
        bits = np.unpackbits(raw, axis=1, bitorder="little")
        parts = np.packbits(bits.take(self._chosen, axis=1), axis=1, bitorder="little").view("<u2")
        keys = parts[:, : self._shape.tables] & self._key_mask
        cells: NDArray[np.int64] = keys + self._offsets
        sampled = parts[:, self._low].astype(np.uint32)
        sampled |= parts[:, self._high].astype(np.uint32) << np.uint32(16)
        return cells, sampled
