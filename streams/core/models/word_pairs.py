"""The words of a batch of captions, and the pairs of neighbours among them, hashed to cells of a table.

A word is a run of letters and digits, or one other character that is no space. Words are read from folded letters, so a
spelling trick that folding undoes changes none of them. The hash of a word is a polynomial in its letters, taken from
sums over the whole batch: it does not depend on where the word stands.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from streams.core.models.alphabet import DIGIT, SPACE, Alphabet, Codes
from streams.core.models.ngrams import TABLE_BITS, Mask, NgramView, Positions, first_of_kind

TIMES: Final = 2
"""How often a word or a pair counts, beside an n-gram that counts once."""
_LETTER: Final = 97
_BLANK: Final = np.uint32(SPACE)
"""The highest of the folded characters that no word holds: the space, and below it the pad."""
_SLOT_BITS: Final = 8
_BASE: Final = 0x01000193
_POWERS_KEPT: Final = 1 << 17
_NEXT: Final = np.uint32(0x9E3779B1)
_MIX: Final = np.uint32(0x85EBCA6B)
_GOLDEN: Final = np.uint32(2654435769)
_SALT: Final = np.uint32(0x27D4EB2F)


def _powers(base: int, count: int) -> Codes:
    """`base` to the powers 0, 1, … below `count`, modulo 2^32."""
    powers = np.full(count, base, np.uint32)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint32)


_UP: Final = _powers(_BASE, _POWERS_KEPT)
_DOWN: Final = _powers(pow(_BASE, -1, 1 << 32), _POWERS_KEPT)


def word_view(letters: Codes, starts: Positions, alphabet: Alphabet) -> NgramView:
    """Words at even places, and at odd ones the pair that a word makes with its successor.

    `letters` are folded, `starts` tells where each caption begins among them. Each caption begins with an empty word,
    which counts in a pair only; so a caption without words has a place too.
    """
    begins, word_starts = _word_begins(letters[: int(starts[-1])], starts[:-1], alphabet)
    words = _hashes(letters[: int(starts[-1])], begins)
    hashes = np.zeros(2 * len(words), np.uint32)
    hashes[0::2] = words
    hashes[1:-1:2] = words[:-1] * _NEXT + words[1:]
    hashes ^= hashes >> np.uint32(15)
    hashes *= _MIX
    hashes ^= hashes >> np.uint32(13)
    hashes *= _GOLDEN
    view_starts = 2 * word_starts
    counts = first_of_kind(hashes, view_starts, _SLOT_BITS)
    counts[view_starts[:-1]] = False  # the empty word
    counts[view_starts[1:] - 1] = False  # a pair with the next caption
    return NgramView((hashes >> np.uint32(32 - TABLE_BITS),), counts, view_starts, TIMES)


def _word_begins(letters: Codes, starts: Positions, alphabet: Alphabet) -> tuple[Positions, Positions]:
    """Where each word begins among the letters; where each caption begins among the words, and their number."""
    kind = alphabet.shape.take(letters)
    runs_on: Mask = (kind == _LETTER) | (kind == DIGIT)
    begins: Mask = letters > _BLANK
    begins[1:] &= ~(runs_on[1:] & runs_on[:-1])
    begins[starts] = True
    at = np.flatnonzero(begins)
    return at, np.append(np.searchsorted(at, starts), len(at))


def _hashes(letters: Codes, begins: Positions) -> Codes:
    """The hash of each word: the sum of its letters times rising powers of a base, modulo 2^32."""
    size = len(letters)
    up, down = (_UP, _DOWN) if size <= _POWERS_KEPT else (_powers(_BASE, size), _powers(pow(_BASE, -1, 1 << 32), size))
    summed = letters * (letters > _BLANK)
    summed *= up[:size]
    np.cumsum(summed, dtype=np.uint32, out=summed)
    before = summed.take(begins[1:] - 1)
    words = np.empty(len(begins), np.uint32)
    words[:-1] = before
    words[-1] = summed[-1]
    words[1:] -= before
    words *= down.take(begins)
    words += _SALT
    return words
