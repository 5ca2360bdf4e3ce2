"""Fits the card of events: an explainable boosting machine over the counters before each event, read out as points.

The card is fitted to the earlier events and judged by the later ones. A random split would put events of one burst on
both sides.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.core.models.event_card import EventCard, EventTerm, Matrix
from streams.files.event_cards import event_card
from streams.lab.detection_figures import DetectionFigures, detection_figures
from streams.lab.events import JudgedEvents, family, without
from streams.lab.fit_texts import LEAST_LABELS, Progress, TooFewLabels

EARLIER: Final = 0.7
"""Share of the events that is fitted to when the rest judges."""
PAIRS, BINS, PAIR_BINS, LEAST_IN_LEAF = 12, 24, 8, 40
LABEL_PAIRS, LABEL_BINS, LABEL_PAIR_BINS, LEAST_IN_LABEL_LEAF = 20, 48, 24, 20
"""Finer bins help with labels, whose odds nearly give the answer. Without labels they overfit."""
BAGS: Final = 4
ROUNDS: Final = 1_500
DECIMALS: Final = 4


@dataclass(frozen=True, slots=True)
class EventFit:
    """A card fitted to all events; the figures are of one fitted to the earlier events, on the later and on a random
    part."""

    card: EventCard
    later: DetectionFigures
    random: DetectionFigures


def fit_events(
    judged: JudgedEvents, seed: int, left_out: Sequence[str] = (), progress: Progress = lambda share, what: None
) -> EventFit:
    """Fit a card. Raises TooFewLabels if a class has fewer than 25 labels."""
    _require_labels(judged.labels)
    names = without(judged.names, left_out)
    order = np.random.default_rng(seed).permutation(len(judged.labels))
    shuffled = np.isin(np.arange(len(order)), order[: int(EARLIER * len(order))])
    later = _held_out(judged, names, earlier(judged), seed)
    progress(0.6, "later")
    random = _held_out(judged, names, shuffled, seed)
    progress(0.8, "at random")
    card = fit_card(judged, names, np.ones(len(judged.labels), np.bool_), seed)
    progress(1.0, "done")
    return EventFit(card, later, random)


def judge_later(judged: JudgedEvents, seed: int, left_out: Sequence[str] = ()) -> tuple[EventCard, DetectionFigures]:
    """A card fitted to the earlier events, and its figures on the later ones. Raises TooFewLabels as `fit_events`."""
    first = earlier(judged)
    _require_labels(judged.labels[first])
    card = fit_card(judged, without(judged.names, left_out), first, seed)
    return card, detection_figures(judged.labels[~first], card.log_odds(judged.matrix[~first], judged.names))


def earlier(judged: JudgedEvents) -> NDArray[np.bool_]:
    """The judged events in the earlier part of the stream."""
    chosen: NDArray[np.bool_] = judged.numbers < EARLIER * (int(judged.numbers[-1]) + 1)
    return chosen


def fit_card(judged: JudgedEvents, names: Sequence[str], chosen: NDArray[np.bool_], seed: int) -> EventCard:
    """The card of some of the events; the same events and seed give the same card."""
    from interpret.glassbox import ExplainableBoostingClassifier

    columns = [judged.names.index(name) for name in names]
    labelled = any(family(name) == "labels" for name in names)
    pairs, bins, pair_bins, leaf = (
        (LABEL_PAIRS, LABEL_BINS, LABEL_PAIR_BINS, LEAST_IN_LABEL_LEAF)
        if labelled
        else (PAIRS, BINS, PAIR_BINS, LEAST_IN_LEAF)
    )
    machine = ExplainableBoostingClassifier(
        feature_names=list(names),
        feature_types=["continuous"] * len(names),
        interactions=min(pairs, len(names) * (len(names) - 1) // 2),
        max_bins=bins,
        max_interaction_bins=pair_bins,
        outer_bags=BAGS,
        inner_bags=0,
        learning_rate=0.04,
        max_rounds=ROUNDS,
        min_samples_leaf=max(5, min(leaf, int(chosen.sum()) // 50)),
        n_jobs=1,
        random_state=seed,
    )
    labels = judged.labels[chosen]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        machine.fit(judged.matrix[chosen][:, columns], labels)
    terms = [_read_out(machine, number, names) for number in range(len(machine.term_features_))]
    intercept = round(float(np.ravel(machine.intercept_)[0]), DECIMALS)
    return event_card([term for term in terms if term is not None], intercept, round(float(labels.mean()), 6))


def _read_out(machine: Any, number: int, names: Sequence[str]) -> EventTerm | None:
    """A term of the machine, without its bins for unknown values; None if it has one bin only or no points."""
    places = machine.term_features_[number]
    cuts = []
    for place in places:
        levels = machine.bins_[place]
        cuts.append(np.asarray(levels[0 if len(places) == 1 else min(1, len(levels) - 1)], np.float64))
    points: Matrix = np.asarray(machine.term_scores_[number], np.float64)
    points = np.round(points[tuple(slice(1, len(of) + 2) for of in cuts)], DECIMALS)
    if not all(map(len, cuts)) or not points.any():
        return None
    return EventTerm(tuple(names[place] for place in places), tuple(cuts), points)


def _held_out(judged: JudgedEvents, names: Sequence[str], chosen: NDArray[np.bool_], seed: int) -> DetectionFigures:
    rest = ~chosen
    if not 0 < judged.labels[chosen].sum() < chosen.sum():
        return detection_figures(judged.labels[:0], np.zeros(0))
    card = fit_card(judged, names, chosen, seed)
    return detection_figures(judged.labels[rest], card.log_odds(judged.matrix[rest], judged.names))


def _require_labels(labels: NDArray[np.int64]) -> None:
    positives = int(labels.sum())
    for name, count in (("abusive", positives), ("honest", len(labels) - positives)):
        if count < LEAST_LABELS:
            raise TooFewLabels(
                f"there are {count} {name} events to fit to, and a fit needs at least {LEAST_LABELS} of each class",
                "give more labelled rows",
            )
