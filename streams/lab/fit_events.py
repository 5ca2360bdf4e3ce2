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
from streams.lab.fit_texts import Progress, require_labels
from streams.lab.one_thread import one_thread

EARLIER: Final = 0.7
"""Share of the events that is fitted to when the rest judges."""
ROUNDS: Final = 1_500
HALF_LIFE: Final = 0.5
"""The part of the events that is fitted to after which an event weighs half, because what abuse looks like changes."""
DECIMALS: Final = 4


@dataclass(frozen=True, slots=True)
class CardSettings:
    """How the machines of a card are fitted; each of `machines` reads a random share of the counters, with `pairs`."""

    machines: int
    share: float
    bags: int
    pairs: int
    bins: int
    pair_bins: int
    leaf: int
    leaves: int
    rate: float


PLAIN: Final = CardSettings(1, share=1.0, bags=4, pairs=12, bins=24, pair_bins=8, leaf=100, leaves=2, rate=0.02)
"""Without labels finer bins, smaller leaves and a higher rate overfit."""
LABELLED: Final = CardSettings(16, share=0.3, bags=1, pairs=10, bins=48, pair_bins=24, leaf=20, leaves=3, rate=0.04)
"""Counters of labels say nearly the same in many ways. A machine that reads all of them trusts the few that fitted best
by chance; the mean of machines that read different ones ranks later events better."""


@dataclass(frozen=True, slots=True)
class EventFit:
    """A card fitted to all events; the figures are of one fitted to the earlier events, on the later and on a random
    part."""

    card: EventCard
    later: DetectionFigures
    random: DetectionFigures


@one_thread()
def fit_events(
    judged: JudgedEvents, seed: int, left_out: Sequence[str] = (), progress: Progress = lambda share, what: None
) -> EventFit:
    """Fit a card. Raises TooFewLabels if a class has fewer than 25 labels."""
    require_labels(judged.labels, "events to fit to")
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


@one_thread()
def judge_later(judged: JudgedEvents, seed: int, left_out: Sequence[str] = ()) -> tuple[EventCard, DetectionFigures]:
    """A card fitted to the earlier events, and its figures on the later ones. Raises TooFewLabels as `fit_events`."""
    first = earlier(judged)
    require_labels(judged.labels[first], "events to fit to")
    card = fit_card(judged, without(judged.names, left_out), first, seed)
    return card, detection_figures(judged.labels[~first], card.log_odds(judged.matrix[~first], judged.names))


def earlier(judged: JudgedEvents) -> NDArray[np.bool_]:
    """The judged events in the earlier part of the stream."""
    chosen: NDArray[np.bool_] = judged.numbers < EARLIER * (int(judged.numbers[-1]) + 1)
    return chosen


def fit_card(judged: JudgedEvents, names: Sequence[str], chosen: NDArray[np.bool_], seed: int) -> EventCard:
    """The card of some of the events; the same events and seed give the same card."""
    settings = LABELLED if any(family(name) == "labels" for name in names) else PLAIN
    matrix, labels, weights = judged.matrix[chosen], judged.labels[chosen], _recency(judged.numbers[chosen])
    rng = np.random.default_rng(seed)
    sums: dict[tuple[str, ...], EventTerm] = {}
    intercept = 0.0
    for number in range(settings.machines):
        some = sorted(rng.permutation(len(names))[: max(1, round(settings.share * len(names)))].tolist())
        read = [names[place] for place in some]
        columns = [judged.names.index(name) for name in read]
        machine = _machine(matrix[:, columns], labels, weights, read, settings, seed + number)
        intercept += float(np.ravel(machine.intercept_)[0]) / settings.machines
        for place in range(len(machine.term_features_)):
            term = _read_out(machine, place, read, 1.0 / settings.machines)
            if term is not None:
                sums[term.features] = _added(sums.get(term.features), term)
    terms = [EventTerm(term.features, term.cuts, np.round(term.points, DECIMALS)) for term in sums.values()]
    shown = [term for term in terms if term.points.any()]
    return event_card(shown, round(intercept, DECIMALS), round(float(np.average(labels, weights=weights)), 6))


def _recency(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """The weight of each event by its place in the stream; 1 for the last."""
    weights: NDArray[np.float64] = 2.0 ** ((numbers - numbers[-1]) / (HALF_LIFE * (numbers[-1] - numbers[0] + 1)))
    return weights


def _machine(
    matrix: Matrix,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    names: Sequence[str],
    settings: CardSettings,
    seed: int,
) -> Any:
    from interpret.glassbox import ExplainableBoostingClassifier

    machine = ExplainableBoostingClassifier(
        feature_names=list(names),
        feature_types=["continuous"] * len(names),
        interactions=min(settings.pairs, len(names) * (len(names) - 1) // 2),
        max_bins=settings.bins,
        max_interaction_bins=settings.pair_bins,
        max_leaves=settings.leaves,
        outer_bags=settings.bags,
        inner_bags=0,
        learning_rate=settings.rate,
        max_rounds=ROUNDS,
        min_samples_leaf=max(5, min(settings.leaf, len(labels) // 50)),
        n_jobs=1,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        machine.fit(matrix, labels, sample_weight=weights)
    return machine


def _added(sum_of: EventTerm | None, term: EventTerm) -> EventTerm:
    """The sum of two terms of the same counters. Bins follow from the rows alone, so both have the same cuts."""
    if sum_of is None:
        return term
    return EventTerm(term.features, term.cuts, sum_of.points + term.points)


def _read_out(machine: Any, number: int, names: Sequence[str], weight: float) -> EventTerm | None:
    """A term of the machine, without its bins for unknown values; None if it has one bin only."""
    places = machine.term_features_[number]
    cuts = []
    for place in places:
        levels = machine.bins_[place]
        cuts.append(np.asarray(levels[0 if len(places) == 1 else min(1, len(levels) - 1)], np.float64))
    if not all(map(len, cuts)):
        return None
    points: Matrix = np.asarray(machine.term_scores_[number], np.float64)
    known = points[tuple(slice(1, len(of) + 2) for of in cuts)]
    return EventTerm(tuple(names[place] for place in places), tuple(cuts), known * weight)


def _held_out(judged: JudgedEvents, names: Sequence[str], chosen: NDArray[np.bool_], seed: int) -> DetectionFigures:
    rest = ~chosen
    if not 0 < judged.labels[chosen].sum() < chosen.sum():
        return detection_figures(judged.labels[:0], np.zeros(0))
    card = fit_card(judged, names, chosen, seed)
    return detection_figures(judged.labels[rest], card.log_odds(judged.matrix[rest], judged.names))
