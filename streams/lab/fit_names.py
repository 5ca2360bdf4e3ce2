"""Fits the name model: takes the words from honest names, and learns what the evidence of a campaign of names is worth.

The weight is what a logistic regression gives it beside the log odds of the links, on the links that were first seen last and
honest ones that the words are not from. It is learnt from a stream, in the order of time. Without links that have a time
the weight stays at USUAL_WEIGHT.
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
from streams.lab.link_rows import LinkRow
from streams.lab.name_stream import name_odds, placed
from streams.lab.rows import ABUSIVE

WORD_FROM: Final = 3
"""Honest names from which a run is a word."""
USUAL_WEIGHT: Final = 0.3
LARGEST_WEIGHT: Final = 0.5
"""At most five more log odds, at MOST_EVIDENCE."""


def counted(rows: Iterable[LinkRow], web: WebLinks, weight: float) -> NameModel:
    """The model with the words of the honest rows' names."""
    names = {label for row in rows if row.label != ABUSIVE and (label := _label(row, web))}
    runs = Counter(run for name in names for run in set(runs_of(name)))
    common = bytearray(1 << WORD_BITS - 3)
    for run, count in runs.items():
        if count >= WORD_FROM:
            for bit in bits_of(run):
                common[bit >> 3] |= 1 << (bit & 7)
    return name_model(bytes(common), max(1, len(names)), weight)


def learnt_weight(
    known: Iterable[LinkRow], later: Sequence[LinkRow], log_odds: NDArray[np.float64], web: WebLinks
) -> float:
    """The weight of the evidence beside the `log_odds` of the links, by those of `later` and the names that were new then.

    `known` are the links that came before, whose honest names give the words.
    """
    times = placed(later)
    labels = np.array([row.label for row in later], np.int64)
    if times is None or not 0 < labels.sum() < len(labels):
        return USUAL_WEIGHT
    added = name_odds(later, times, counted(known, web, 1.0), web)
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(C=1e6).fit(np.column_stack((log_odds, added)), labels)
    of_link, of_names = map(float, fit.coef_[0])
    return min(LARGEST_WEIGHT, max(0.0, of_names / of_link)) if of_link > 0.0 else USUAL_WEIGHT


def _label(row: LinkRow, web: WebLinks) -> str:
    read = site_name(row.host, web) if row.host else None
    return row.text.name if read is None and row.hosted else "" if read is None else read.label
