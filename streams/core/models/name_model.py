"""The name model: which runs of six characters are words of honest names of sites, and what it means to share another one.

Scams that follow each other imitate the same brand: their sites have different names that share a run, as `acme-l` in
`acme-login` and `secure-acme-login`. Honest sites share words, as `photog`, and a platform has its own share of
photographers. So the runs that several honest names have, and those that overlap with one nearly whole, say nothing. Any
other run speaks against its names where more new sites share it than honest ones would by chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Final
from zlib import crc32

from streams.core.confusables import skeleton

RUN_CHARS: Final = 6
MOST_CHARS: Final = 40
"""Characters of a name that are looked at."""
MOST_RUNS: Final = 8
"""Runs of a name that are looked at."""
WORD_BITS: Final = 19
"""A word sets three of 2^19 bits, 64 kB; of 20,000 words, one other run in a thousand passes for a word."""
OVERLAP: Final = 2
"""A run that begins so many characters before or after a word, or fewer, is part of it."""
LOCAL_OVERLAP: Final = RUN_CHARS - 1
"""The same for a platform's own word: a run that shares a character with it is part of it. The model's words are not from the
platform's sites, so they lack the runs over such a word's edges, as `ts-zwo` in `pets-zwolle` and `jets-zwolle`."""
UNKNOWN: Final = 0.5
"""Honest names, of those that the words are from, that a run of no word is expected in."""
MOST_EVIDENCE: Final = 10.0
_MULTIPLIERS: Final = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)


@dataclass(frozen=True, slots=True)
class NameModel:
    """The words among honest names, and the weight of the evidence in log odds.

    `common` holds 2^19 bits (`bits_of`). They are from `names` names. `hash` names the whole.
    """

    common: bytes
    names: int
    weight: float
    hash: str

    def __post_init__(self) -> None:
        if len(self.common) != 1 << WORD_BITS - 3:
            raise ValueError(f"a name model has {1 << WORD_BITS} bits of words")
        if self.names < 1 or not 0.0 <= self.weight <= 1.0:
            raise ValueError("a name model has words of one name at least, and a weight from 0 to 1")

    @property
    def share(self) -> float:
        """The share of honest names that a run of no word is expected in."""
        return UNKNOWN / self.names

    def runs(self, name: str, is_local: Callable[[int], bool] = lambda number: False) -> list[str]:
        """Some runs of a name that are no words; none of a name that is shorter than a run.

        `is_local` tells by its checksum whether a run is a word of the platform's own.
        """
        every = runs_of(name)
        sums = list(map(checksum, every))
        rare = dict(zip(sums, every, strict=True))
        for place, number in enumerate(sums):
            reach = LOCAL_OVERLAP if is_local(number) else OVERLAP if self._is_word(number) else -1
            for near in sums[max(0, place - reach) : place + reach + 1]:
                rare.pop(near, None)
        # all names keep the same runs of those they share, so that names alike have them in common
        return [rare[number] for number in sorted(rare)[:MOST_RUNS]]

    def _is_word(self, number: int) -> bool:
        common = self.common
        for odd in _MULTIPLIERS:
            bit = (number * odd & 0xFFFFFFFF) >> 32 - WORD_BITS
            if not common[bit >> 3] >> (bit & 7) & 1:
                return False
        return True

    def log_odds(self, others: int, expected: float) -> float:
        """What it adds to the log odds of a name that `others` other new names share its run, where `expected` would if
        all were honest."""
        return self.weight * evidence(others, expected)


def runs_of(name: str) -> list[str]:
    """All runs of the label that somebody chose for a site, in their order."""
    looks = (skeleton(name) if name.startswith("xn--") else name)[:MOST_CHARS]
    return [looks[at : at + RUN_CHARS] for at in range(len(looks) - RUN_CHARS + 1)]


def bits_of(run: str) -> tuple[int, ...]:
    """The bits that a word sets."""
    number = checksum(run)
    return tuple([(number * odd & 0xFFFFFFFF) >> 32 - WORD_BITS for odd in _MULTIPLIERS])


def checksum(run: str) -> int:
    """The number under which a run is looked up among words."""
    return crc32(run.encode("utf-8", "replace"))


def evidence(others: int, expected: float) -> float:
    """The log likelihood ratio of `others` sites, of which there may be more than `expected`, against exactly that many:
    both counts are Poisson. 0 where there are no more; MOST_EVIDENCE at most."""
    if others <= expected:
        return 0.0
    return min(MOST_EVIDENCE, others * log(others / expected) - (others - expected))
