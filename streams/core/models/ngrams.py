"""Captions become hashed n-grams, a whole batch at a time.

A batch is joined with pads, decoded once to code points, folded by one table look-up and hashed by a rolling
multiply-add; each step is one numpy call over the whole batch. Sums over n-grams are integers, so a caption's numbers
do not depend on the batch around it.

Two views of a caption are hashed: its folded letters (n-grams of 3, 4 and 5) and its shape (classes of characters, n-grams
of 6); a third, of its words, is made in `word_pairs`. An n-gram counts where it is the caption's first of its kind:
repeating a word a hundred times adds nothing.

Names of hosts are hashed as they are spelled: a browser opens `paypa1` and `paypal` on different hosts, so nothing of
them is folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.models.alphabet import DIGIT, OTHER, PAD, SPACE, TABLE_SIZE, Alphabet, Codes

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]

MAX_CHARS: Final = 500
"""Characters of a caption that are read."""
LETTER_NS: Final = (3, 4, 5)
SHAPE_N: Final = 6
NAME_NS: Final = (2, 3, 4, 5, 6)
NAME_SHAPE_NS: Final = (4, 6)
TABLE_BITS: Final = 18
"""An n-gram is one of 2^18 cells of a model's table."""
NAME_BITS: Final = 20
"""Of names an n-gram is one of 2^20 cells: lists hold so many names that in 2^18 unlike n-grams share a cell too often."""
_PADS: Final = 5
_SHAPE_SALT: Final = np.uint32(7777)
"""Added to classes, so that a shape and the same characters have different cells."""
_SLOT_BITS: Final = 9
_IS_GAP: Final = np.zeros(TABLE_SIZE, np.bool_)
_IS_GAP[list(map(ord, " .-_*"))] = True
_MULTIPLY: Final = np.uint32(0x01000193)
_MIX: Final = np.uint32(0x85EBCA6B)
_GOLDEN: Final = 2654435769


@dataclass(frozen=True, slots=True)
class NgramView:
    """The n-grams of one view of a batch.

    `cells` holds, for each n, the table cell of the n-gram that begins at each position; `first` tells the positions
    that count; `starts` where each caption begins, with the end of the last one behind. Each counts `times` times.
    """

    cells: tuple[Codes, ...]
    first: Mask
    starts: Positions
    times: int = 1


@dataclass(frozen=True, slots=True)
class CaptionBatch:
    """A batch of captions joined with pads, as code points, as folded letters and as n-grams.

    `starts` tells where each caption begins among `codes`. `longest` holds the hash of the longest n-gram of letters that
    begins at each position; where captions begin there is `letter_view.starts`.
    """

    codes: Codes
    starts: Positions
    letters: Codes
    longest: Codes
    letter_view: NgramView
    shape_view: NgramView


def views(texts: Sequence[str], alphabet: Alphabet) -> tuple[NgramView, NgramView]:
    """The letters and the shape of a batch of captions, which must not be empty."""
    batch = read_batch(texts, alphabet)
    return batch.letter_view, batch.shape_view


def read_batch(texts: Sequence[str], alphabet: Alphabet) -> CaptionBatch:
    """The batch that these captions make; there must be one at least."""
    codes, starts = _joined(texts)
    letters, letter_starts = _folded(codes, starts, alphabet)
    hashes = _rolled(letters, LETTER_NS)
    shape_hashes = _rolled(alphabet.shape.take(codes) + _SHAPE_SALT, (SHAPE_N,))
    return CaptionBatch(
        codes,
        starts,
        letters,
        hashes[-1],
        NgramView(tuple(map(_cells, hashes)), first_of_kind(hashes[0], letter_starts), letter_starts),
        NgramView(tuple(map(_cells, shape_hashes)), first_of_kind(shape_hashes[0], starts), starts),
    )


def name_views(names: Sequence[str], alphabet: Alphabet) -> tuple[NgramView, NgramView]:
    """The characters and the shape of a batch of names of hosts, which must not be empty. Every n-gram counts."""
    codes, starts = _joined(names)
    every = np.ones(int(starts[-1]), np.bool_)
    spelled = _rolled(codes, NAME_NS)
    shapes = _rolled(alphabet.shape.take(codes) + _SHAPE_SALT, NAME_SHAPE_NS)
    cells = tuple(_cells(hashes[: len(every)], NAME_BITS) for hashes in spelled)
    shape_cells = tuple(_cells(hashes[: len(every)], NAME_BITS) for hashes in shapes)
    return NgramView(cells, every, starts), NgramView(shape_cells, every, starts)


def view_sums(table: NDArray[np.int16], of: Sequence[NgramView]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sum of each caption's weights over some views of one batch, and how many n-grams they have."""
    sums = np.zeros(len(of[0].starts) - 1, np.int64)
    counts = np.zeros(len(sums), np.int64)
    for view in of:
        end = int(view.starts[-1])
        weights = np.zeros(end, np.int32)
        for cells in view.cells:
            weights += table.take(cells[:end])
        weights *= view.first
        sums += view.times * np.add.reduceat(weights, view.starts[:-1], dtype=np.int64)
        counts += view.times * len(view.cells) * np.add.reduceat(view.first, view.starts[:-1], dtype=np.int64)
    return sums, counts


def letter_grams(texts: Sequence[str], alphabet: Alphabet) -> tuple[Codes, Codes, Positions]:
    """The 5-gram of folded letters that begins at each position, the letters, and where each caption begins among them.

    A caption is followed by pads, so the 5-grams that begin at its last letters read into them.
    """
    letters, starts = _folded(*_joined(texts), alphabet)
    return _rolled(letters, LETTER_NS[-1:])[0], letters, starts


def _joined(texts: Sequence[str]) -> tuple[Codes, Positions]:
    cut = [text[:MAX_CHARS] for text in texts]
    pad = chr(PAD) * _PADS
    raw = (pad + pad.join(cut) + pad).encode("utf-32-le", "replace")
    codes = np.frombuffer(raw, np.uint32)
    starts = np.zeros(len(cut) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, cut), np.int64, len(cut)) + _PADS, out=starts[1:])
    return np.where(codes < TABLE_SIZE, codes, np.uint32(OTHER)), starts


def _folded(codes: Codes, starts: Positions, alphabet: Alphabet) -> tuple[Codes, Positions]:
    """Letters of one alphabet, with spelling tricks undone, and where each caption begins among them."""
    letters = alphabet.fold.take(codes)
    _digits_to_letters(letters, codes, alphabet)
    letters, starts = _kept(letters, letters != 0, starts)
    keep = ~_inner_gaps(letters)
    letters, starts = _kept(letters, keep, starts)
    repeated = _repeated_gaps(letters)
    letters[:-1][repeated[1:]] = SPACE
    return _kept(letters, ~repeated, starts)


def _digits_to_letters(letters: Codes, codes: Codes, alphabet: Alphabet) -> None:
    """A digit counts as a letter only beside one, so that whole numbers stay numbers. In place."""
    stands_for = alphabet.leet.take(codes)
    at = np.flatnonzero(stands_for)  # pads are before the first character and behind the last
    if not len(at):
        return
    word = letters - np.uint32(97) < 26
    near = word | (stands_for != 0)
    within = at[(word[at - 1] & near[at + 1]) | (near[at - 1] & word[at + 1])]
    letters[within] = stands_for[within]


def _inner_gaps(letters: Codes) -> Mask:
    """The gaps of `s p a c e d` and `d.o.t.t.e.d` words: between two characters that stand alone."""
    gap = _IS_GAP.take(letters)
    word = (letters > 96) | (letters == DIGIT)
    edge = gap | (letters == PAD)
    inner = np.zeros(len(letters), np.bool_)
    inner[2:-2] = gap[2:-2] & word[1:-3] & word[3:-1] & edge[:-4] & edge[4:]
    return inner


def _repeated_gaps(letters: Codes) -> Mask:
    """All of a run of gaps but its first: spacing and dotting leave such runs between words."""
    gap = _IS_GAP.take(letters)
    repeated = np.zeros(len(letters), np.bool_)
    repeated[1:] = gap[1:] & gap[:-1]
    return repeated


def _kept(letters: Codes, keep: Mask, starts: Positions) -> tuple[Codes, Positions]:
    if keep.all():
        return letters, starts
    before = np.concatenate(([0], np.cumsum(keep)))
    return letters[keep], before[starts]


def _rolled(codes: Codes, ns: Sequence[int]) -> list[Codes]:
    """The 32-bit hash of the n-gram that begins at each position, for each n of `ns`."""
    hashes: list[Codes] = []
    rolling = codes * _MIX + np.uint32(1)
    for n in range(1, max(ns) + 1):
        if n > 1:
            rolling = rolling[:-1] * _MULTIPLY + codes[n - 1 :]
        if n in ns:
            hashes.append((rolling ^ (rolling >> np.uint32(15))) * np.uint32((_GOLDEN + 2 * n) & 0xFFFFFFFF))
    return hashes


def _cells(hashes: Codes, bits: int = TABLE_BITS) -> Codes:
    return hashes >> np.uint32(32 - bits)


def first_of_kind(hashes: Codes, starts: Positions, slot_bits: int = _SLOT_BITS) -> Mask:
    """True where the n-gram is its caption's first of its kind, as far as 2^`slot_bits` slots a caption tell them apart."""
    end = int(starts[-1])
    position = np.arange(end, dtype=np.int32)
    slot = np.repeat(np.arange(len(starts) - 1, dtype=np.int32) << slot_bits, np.diff(starts))
    slot |= (hashes[:end] >> np.uint32(32 - slot_bits)).view(np.int32)
    earliest = np.empty((len(starts) - 1) << slot_bits, np.int32)
    earliest[slot[::-1]] = position[::-1]  # of several positions the one written last stays, which is the first
    other = earliest.take(slot)
    first: Mask = (other == position) | (hashes.take(other) != hashes[:end])
    return first
