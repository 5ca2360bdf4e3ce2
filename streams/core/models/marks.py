"""Reads a batch of captions with numpy: the numbers of each caption that an account's facts are folded from.

A caption's numbers do not depend on the batch around it: sums are integers, and log odds are rounded to 64ths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streams.core.models.alphabet import PAD, TABLE_SIZE, Alphabet, Codes
from streams.core.models.captions import CaptionModel, caption_views
from streams.core.models.ngrams import CaptionBatch, read_batch, view_sums

ODDS_STEPS: Final = 64
"""Log odds are whole numbers of 64ths."""
MOST_ODDS: Final = 4 * ODDS_STEPS
"""Log odds are cut off here, so that no single caption weighs more."""
MARKS: Final = 2
"""Minhash marks of a caption's 5-grams. Near-duplicates share them: each with the share of 5-grams that they share."""
MARK_BYTES: Final = 2
CHUNK_CHARS: Final = 32_000
"""About how many characters are read at once: what is held meanwhile stays inside a processor's cache."""
MOST_CAPTIONS: Final = 2_048
_MULTIPLIERS: Final = tuple(np.uint32(number) for number in (0x9E3779B1, 0x85EBCA77))
_NOTHING: Final = np.uint32(0xFFFFFFFF)

_OTHER, _UPPER, _DIGIT, _BEYOND, _SPACE, _PUNCTUATION, _EMOJI = range(7)
_CLASSES: Final = 8
_LATIN_END: Final = 0x250
_AT, _HASH, _COLON, _SLASH = map(np.uint32, map(ord, "@#:/"))
_LONGEST_SKELETON: Final = 512
_PADS: Final = 5


class CaptionNumbers(NamedTuple):
    """One caption in numbers.

    `odds` is its log odds of abuse in 64ths, 0 without a model. `marks` are two minhash marks of two bytes, `skeleton`
    is a mark of two bytes for its marks and classes without words. The rest counts characters, except `mentions`,
    `tags` and `links`, which count words; `reply` is 1 if it begins by naming somebody.
    """

    odds: int
    marks: bytes
    skeleton: bytes
    chars: int
    upper: int
    digits: int
    beyond: int
    spaces: int
    punctuation: int
    emoji: int
    mentions: int
    tags: int
    links: int
    reply: int


_numbers: Callable[[tuple[Any, ...]], CaptionNumbers] = partial(tuple.__new__, CaptionNumbers)
"""Makes a `CaptionNumbers` of a tuple in half the time that its own constructor takes."""


class ReadsCaptions(Protocol):
    """Gives the numbers of each caption, whatever other captions it is given with."""

    def read(self, texts: Sequence[str]) -> list[CaptionNumbers]:
        """The numbers of each caption, in order; never raises for what a caption holds."""
        ...


@dataclass(frozen=True, slots=True)
class CaptionReader:
    """Reads captions with `alphabet`; without a `model` no caption has log odds."""

    alphabet: Alphabet
    model: CaptionModel | None = None
    _classes: NDArray[np.uint8] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_classes", _class_table(self.alphabet))

    def read(self, texts: Sequence[str]) -> list[CaptionNumbers]:
        """The numbers of each caption, in order."""
        made: list[CaptionNumbers] = []
        chunk = min(MOST_CAPTIONS, max(1, CHUNK_CHARS * len(texts) // (sum(map(len, texts)) + 1)))
        for start in range(0, len(texts), chunk):
            made += self._read(texts[start : start + chunk])
        return made

    def _read(self, texts: Sequence[str]) -> list[CaptionNumbers]:
        batch = read_batch(texts, self.alphabet)
        count = len(texts)
        marks, skeletons = _marks(batch), _skeletons(batch, self.alphabet)
        columns = [*_class_counts(batch, self._classes), *_word_counts(batch)]
        odds = [0] * count if self.model is None else _odds(self.model, batch, self.alphabet)
        numbers = zip(
            odds,
            [marks[at : at + _MARKED] for at in range(0, len(marks), _MARKED)],
            [skeletons[at : at + MARK_BYTES] for at in range(0, len(skeletons), MARK_BYTES)],
            *[column.tolist() for column in columns],
            strict=True,
        )
        return list(map(_numbers, numbers))


_MARKED: Final = MARKS * MARK_BYTES


def _odds(model: CaptionModel, batch: CaptionBatch, alphabet: Alphabet) -> list[int]:
    sums, counts = view_sums(model.table, caption_views(batch, alphabet))
    odds = sums * model.scale / np.sqrt(np.maximum(counts, 1)) + model.offset
    whole: list[int] = np.rint(np.clip(odds * ODDS_STEPS, -MOST_ODDS, MOST_ODDS)).astype(np.int64).tolist()
    return whole


def _marks(batch: CaptionBatch) -> bytes:
    """For each caption the least of its 5-gram hashes under two permutations, two bytes of each."""
    starts = batch.letter_view.starts
    end = int(starts[-1])
    hashes = batch.longest[:end]
    empty = batch.letters[:end] == PAD
    least = np.empty((len(starts) - 1, MARKS), np.uint32)
    for number, multiplier in enumerate(_MULTIPLIERS):
        mixed = hashes * multiplier
        mixed ^= mixed >> np.uint32(15)
        mixed[empty] = _NOTHING
        least[:, number] = np.minimum.reduceat(mixed, starts[:-1])
    folded = (least ^ (least >> np.uint32(16)) ^ (least << np.uint32(7))) & np.uint32(0xFFFF)
    marks: bytes = folded.astype("<u2").tobytes()
    return marks


def _skeletons(batch: CaptionBatch, alphabet: Alphabet) -> bytes:
    """For each caption two bytes that stand for the order of its classes of characters, runs and spaces left out."""
    shape = alphabet.shape.take(batch.codes)
    shape = np.where(shape == 65, np.uint32(97), shape)
    keep = (shape != 32) & (shape != PAD)
    keep[1:] &= shape[1:] != shape[:-1]
    before = np.concatenate(([0], np.cumsum(keep)))
    starts = before[batch.starts]
    kept = shape[keep]
    lengths = np.diff(starts)
    place = np.arange(len(kept)) - np.repeat(starts[:-1], lengths)
    mixed = (kept + np.uint32(11)) * _POWERS.take(place)
    sums = np.add.reduceat(np.append(mixed, np.uint32(0)), starts[:-1], dtype=np.uint32)
    sums = np.where(lengths > 0, sums, np.uint32(0))
    skeletons: bytes = ((sums ^ (sums >> np.uint32(16))) & np.uint32(0xFFFF)).astype("<u2").tobytes()
    return skeletons


def _powers() -> Codes:
    return np.cumprod(np.full(_LONGEST_SKELETON, 0x01000193, np.uint32), dtype=np.uint32)


_POWERS: Final = _powers()


def _class_counts(batch: CaptionBatch, classes: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """Characters, and those of each class."""
    starts = batch.starts
    end = int(starts[-1])
    size = len(starts) - 1
    segment = np.repeat(np.arange(0, size * _CLASSES, _CLASSES), np.diff(starts))
    counts = np.bincount(segment + classes.take(batch.codes[:end]), minlength=size * _CLASSES)
    table = counts.reshape(size, _CLASSES)
    chars = np.diff(starts) - _PADS
    named = (_UPPER, _DIGIT, _BEYOND, _SPACE, _PUNCTUATION, _EMOJI)
    return [chars, *[table[:, number] for number in named]]


def _word_counts(batch: CaptionBatch) -> list[NDArray[np.int64]]:
    """Words that name somebody, tags, links, and whether the caption begins by naming somebody."""
    codes, starts = batch.codes, batch.starts
    word = np.zeros(len(codes), np.bool_)
    word[:-1] = (codes[1:] > 32) & (codes[1:] != PAD)
    at, tag = (codes == _AT) & word, (codes == _HASH) & word
    link = np.zeros(len(codes), np.bool_)
    link[:-2] = (codes[:-2] == _COLON) & (codes[1:-1] == _SLASH) & (codes[2:] == _SLASH)
    first = starts[:-1]
    return [
        *[np.add.reduceat(found, first, dtype=np.int64) for found in (at, tag, link)],
        at[first + _PADS].astype(np.int64),
    ]


def _class_table(alphabet: Alphabet) -> NDArray[np.uint8]:
    """The class of every code point of the tables."""
    code = np.arange(TABLE_SIZE)
    shape = alphabet.shape
    table = np.full(TABLE_SIZE, _OTHER, np.uint8)
    table[(shape > 32) & (shape < 128) & (code < 128)] = _PUNCTUATION
    table[shape == 65] = _UPPER
    table[shape == 97] = _OTHER
    table[shape == 48] = _DIGIT
    table[shape == 32] = _SPACE
    table[(code >= _LATIN_END) & ((shape == 97) | (shape == 65))] = _BEYOND
    table[(shape == 5) & (code >= 0x2190)] = _EMOJI
    table[(shape == 6) & (code >= 0x2000) & (code < 0x2190)] = _PUNCTUATION
    table[PAD] = _OTHER
    return table
