"""Groups captions that are nearly the same: gives each caption, by its minhash marks, the number of its group.

A caption's marks are the least hashes of its 5-grams under four permutations, of letters without case, accents, digits
and invisible characters. Two captions of the similarity `s` share a mark with probability `s`. A caption joins the group
that two of its marks have in common; else it begins one of its own, which its marks name. A short caption belongs to no
group, because many people write the same few words.

Growth: 262,144 marks, about 150 bytes each (40 MB). The mark that was shown longest ago makes room, so captions that
nobody repeats push out no campaign that is still shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from gate.core.make_room import make_room
from streams.core.campaigns.mixing import number_of
from streams.core.models.alphabet import PAD, Alphabet
from streams.core.models.ngrams import letter_grams

Marks = tuple[int, ...]
"""Four numbers of 32 bits; none for a short caption."""
MARKS: Final = 4
LEAST_GRAMS: Final = 32
"""Letters of the shortest caption that belongs to a group."""
MAX_MARKS: Final = 1 << 18
_MULTIPLIERS: Final = tuple(np.uint32(odd) for odd in (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F))
_SHIFT: Final = np.uint32(15)


def marks_of(texts: Sequence[str], alphabet: Alphabet) -> list[Marks]:
    """The marks of each caption, whatever captions are around it."""
    if not texts:
        return []
    grams, letters, starts = letter_grams(texts, alphabet)
    within = np.flatnonzero(letters[: len(grams)] != PAD)
    caption = np.searchsorted(starts, within, side="right") - 1
    counts = np.bincount(caption, minlength=len(texts))
    long = np.flatnonzero(counts >= LEAST_GRAMS)
    found: list[Marks] = [()] * len(texts)
    if not len(long):
        return found
    begins = np.cumsum(counts) - counts
    columns = []
    for multiplier in _MULTIPLIERS:
        mixed = grams[within] * multiplier
        mixed ^= mixed >> _SHIFT
        columns.append(np.minimum.reduceat(mixed, begins[counts > 0])[np.flatnonzero(counts > 0).searchsorted(long)])
    for place, marks in zip(long.tolist(), np.column_stack(columns).tolist(), strict=True):
        found[place] = tuple(marks)
    return found


class CaptionGroups:
    """The marks of recent captions. Mutable, used by one thread."""

    def __init__(self, most: int = MAX_MARKS) -> None:
        self._most = most
        self._by_mark: dict[int, int] = {}

    def group(self, marks: Marks) -> int:
        """The number of the group of a caption with these marks, 0 without any; the marks are remembered."""
        if not marks:
            return 0
        group = self._held(marks) or number_of(written(marks))
        self._keep(marks, group)
        return group

    def learn(self, text: str, group: int) -> int:
        """The group of written marks that another worker has in `group`; they join it if this worker has none."""
        marks = read(text)
        if not marks:
            return 0
        held = self._held(marks)
        if not held:
            self._keep(marks, group)
        return held or group

    def _held(self, marks: Marks) -> int:
        """The group of two marks or more, of several the one of most and of these the smallest; 0 if there is none."""
        known = self._by_mark
        groups = [known[key] for key in _keys(marks) if key in known]
        if len(groups) < 2:
            return 0
        if groups.count(groups[0]) > 2:
            return groups[0]
        most, group = max((groups.count(group), -group) for group in groups)
        return -group if most > 1 else 0

    def _keep(self, marks: Marks, group: int) -> None:
        known = self._by_mark
        for key in _keys(marks):
            known.pop(key, None)  # a group that is shown again is the last to make room
            make_room(known, key, self._most)
            known[key] = group


def written(marks: Marks) -> str:
    """Marks as text."""
    return "".join([f"{mark:08x}" for mark in marks])


def read(text: str) -> Marks:
    """The marks in a text of `written`; none for anything else."""
    if len(text) != 8 * MARKS or not all(digit in "0123456789abcdef" for digit in text):
        return ()
    return tuple(int(text[at : at + 8], 16) for at in range(0, len(text), 8))


def _keys(marks: Marks) -> list[int]:
    return [place << 32 | mark for place, mark in enumerate(marks)]
