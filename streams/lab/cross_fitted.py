"""Reads training captions by models that were fitted without them.

A model fits its own training captions better than new ones. Accounts that are fitted to log odds of captions which the
model learned from would trust it too much. So each caption is read by one of a few models that saw neither the caption
nor its family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np

from streams.core.models.alphabet import Alphabet
from streams.core.models.captions import CaptionModel
from streams.core.models.marks import CaptionNumbers, CaptionReader
from streams.lab.fit_texts import Labelled, fold_models

FOLDS: Final = 4
SKETCH: Final = 256
KNOWN: Final = 0.05
"""The share of captions that a model learned from, from which others are fitted to read them."""


def sketch_of(texts: Sequence[str]) -> tuple[int, ...]:
    """The least 256 hashes of the texts: enough to tell later whether other texts are mostly the same."""
    return tuple(sorted({_hash(text) for text in texts})[:SKETCH])


def share_known(sketch: Sequence[int], texts: Sequence[str]) -> float:
    """The share of the texts that were among those of the sketch, estimated from those with the least hashes."""
    if not sketch:
        return 0.0
    highest = sketch[-1] if len(sketch) >= SKETCH else 1 << 64
    low = {number for number in map(_hash, texts) if number <= highest}
    return len(low & set(sketch)) / len(low) if low else 0.0


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=6).digest(), "big")


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """Reads each known text by the model of its fold, and all others by `whole`."""

    readers: tuple[CaptionReader, ...]
    whole: CaptionReader
    folds: dict[str, int]

    def read(self, texts: Sequence[str]) -> list[CaptionNumbers]:
        """The numbers of each caption, in order."""
        by_reader: dict[int, list[int]] = {}
        for place, text in enumerate(texts):
            by_reader.setdefault(self.folds.get(text, -1), []).append(place)
        made: list[CaptionNumbers | None] = [None] * len(texts)
        for number, places in by_reader.items():
            reader = self.whole if number < 0 else self.readers[number]
            for place, numbers in zip(places, reader.read([texts[p] for p in places]), strict=True):
                made[place] = numbers
        return [numbers for numbers in made if numbers is not None]


def cross_fitted(
    labelled: Labelled, alphabet: Alphabet, whole: CaptionModel, seed: int, progress: Callable[[float], None]
) -> CrossFitted:
    """Fit a model for each fold of the labelled texts."""
    folds, models = fold_models(labelled, alphabet, seed, FOLDS, progress)
    of_text = dict(zip(labelled.texts, np.asarray(folds).tolist(), strict=True))
    readers = tuple(CaptionReader(alphabet, model) for model in models)
    return CrossFitted(readers, CaptionReader(alphabet, whole), of_text)
