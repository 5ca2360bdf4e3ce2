"""Fits the name model: takes the words from honest names, and learns what the evidence of a campaign of names is worth.

The weight is the smallest of those under which the links that were first seen last are found best, beside honest ones that
the words are not from. It is learnt from a stream, in the order of time. Without links that have a time the weight stays
at USUAL_WEIGHT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.campaigns.names_alike import site_name
from streams.core.models.name_model import WORD_BITS, NameModel, bits_of, runs_of
from streams.core.weblinks import WebLinks
from streams.files.name_models import name_model
from streams.lab.detection_figures import recall_at_share
from streams.lab.link_rows import LinkRow
from streams.lab.name_stream import name_odds, placed
from streams.lab.rows import ABUSIVE

WORD_FROM: Final = 3
"""Honest names from which a run is a word."""
USUAL_WEIGHT: Final = 0.3
WEIGHTS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""The largest keeps a campaign from adding more than 5 to the log odds of a link."""
AS_GOOD: Final = 0.003
_FALSE_POSITIVES: Final = 0.01


def counted(rows: Iterable[LinkRow], web: WebLinks, weight: float) -> NameModel:
    """The model with the words of the honest rows' names."""
    names = {label for row in rows if row.label != ABUSIVE and (label := _label(row, web))}
    runs = Counter(run for name in names for run in set(runs_of(name)))
    words = bytearray(1 << WORD_BITS - 3)
    for run, count in runs.items():
        if count >= WORD_FROM:
            for bit in bits_of(run):
                words[bit >> 3] |= 1 << (bit & 7)
    return name_model(bytes(words), max(1, len(names)), weight)


def learnt_weight(
    known: Iterable[LinkRow], later: Sequence[LinkRow], log_odds: NDArray[np.float64], web: WebLinks
) -> float:
    """The weight for which abusive links among `later` are found best by their `log_odds` and their names together.

    `known` are the links that came before, whose honest names give the words.
    """
    times = placed(later)
    labels = np.array([row.label for row in later], np.int64)
    if times is None or not 0 < labels.sum() < len(labels):
        return USUAL_WEIGHT
    added = name_odds(later, times, counted(known, web, 1.0), web)
    recalls = [recall_at_share(labels, log_odds + weight * added, _FALSE_POSITIVES) for weight in WEIGHTS]
    return next(w for w, recall in zip(WEIGHTS, recalls, strict=True) if recall >= max(recalls) - AS_GOOD)


def _label(row: LinkRow, web: WebLinks) -> str:
    read = site_name(row.host, web) if row.host else None
    return row.text.name if read is None and row.hosted else "" if read is None else read.label
