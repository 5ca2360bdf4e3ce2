"""Turns boosted terms into a scorecard whose risk is calibrated with the caps of families in force.

Values that no fold's model saw in training show how far they can be trusted. For each of a few caps, slope and offset are
fitted to them while the cap clips every family, and the cap with the best ranking at few false positives, averaged over
early and late rows, is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.scorecard import ALONE_AT_MOST, Scorecard, made_of
from streams.lab.boosting import Boosted, Matrix, as_term

CAPS: Final = (3.0, 3.5, 20.0)
"""Caps in log odds of risk that are tried, beside the one that follows from `alone_at_most`.

Lower ones rank as well among the families of the training rows, and much worse among others: there many honest accounts
reach a low cap in several families, and then cannot be distinguished from accounts far beyond it.
"""
WORTH_A_LOWER_CAP: Final = 0.02
"""How much better a lower cap must rank to be chosen. Smaller gains among the families of the training rows are chance."""
FEW_HONEST: Final = 0.03
"""The share of honest rows among which a ranking must tell the abusive ones apart."""
HALF_LIFE_US: Final = 72 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class Capped:
    """Slope and offset of the calibration, and the cap of every family in log odds of risk."""

    slope: float
    offset: float
    cap: float

    def log_odds(self, sums: Matrix) -> NDArray[np.float64]:
        """The log odds of rows with these sums of points by family, at the share of abuse they were fitted on."""
        found: NDArray[np.float64] = np.clip(sums * self.slope, -self.cap, self.cap).sum(1) + self.offset
        return found


def choose_cap(
    sums: Matrix,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    stages: Sequence[NDArray[np.bool_]],
    most: float,
) -> Capped:
    """The fit with the cap that ranks best. `stages` are the rows after few, more and many events."""
    best: tuple[float, Capped] | None = None
    for cap in sorted({min(cap, most) for cap in CAPS}, reverse=True):
        capped = fit_capped(sums, labels, weights, cap)
        odds = capped.log_odds(sums)
        worth = float(np.mean([early_recall(labels[rows], odds[rows]) for rows in stages]))
        if best is None or worth > best[0] + WORTH_A_LOWER_CAP:
            best = worth, capped
    assert best is not None
    return best[1]


def fit_capped(sums: Matrix, labels: NDArray[np.int64], weights: NDArray[np.float64], cap: float) -> Capped:
    """Slope and offset with the least log loss while each family is clipped at `cap`."""
    from scipy.optimize import minimize

    sign = 2.0 * labels - 1.0
    share = weights / weights.sum()
    prior = float((share * labels).sum())

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        raw = sums * at[0]
        margin = sign * (np.clip(raw, -cap, cap).sum(1) + at[1])
        pull = -share * sign / (1.0 + np.exp(np.clip(margin, -50, 50)))
        slope = float((pull * (sums * (np.abs(raw) < cap)).sum(1)).sum())
        return float((share * np.logaddexp(0.0, -margin)).sum()), np.array([slope, pull.sum()])

    # an offset above the prior's log odds would lift accounts without evidence, and lower the cap
    bounds = [(0.05, 20.0), (-15.0, log(prior / (1.0 - prior)))]
    found = minimize(loss, np.array([0.8, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    return Capped(float(found.x[0]), float(found.x[1]), cap)


def log_loss(odds: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """The weighted mean log loss of these log odds."""
    return float(np.average(np.logaddexp(0.0, (1.0 - 2.0 * labels) * odds), weights=weights))


def scorecard_of(boosted: Boosted, capped: Capped, training_share: float, base_rate: float, most: float) -> Scorecard:
    """The scorecard with these terms, this calibration and this cap."""
    made = (as_term(term) for term in boosted.terms)
    terms = [term for term in made if term is not None]
    caps = dict.fromkeys(sorted({term.family for term in terms}), round(capped.cap, 4)) if capped.cap < most else {}
    return made_of(
        terms,
        base_rate=base_rate,
        training_share=training_share,
        slope=capped.slope,
        offset=capped.offset,
        caps=caps,
        half_life_us=HALF_LIFE_US,
    )


def most_alone(base_rate: float, alone_at_most: float = ALONE_AT_MOST) -> float:
    """The cap in log odds that follows from `alone_at_most`, for an account that begins at the base rate."""
    return log(alone_at_most / (1.0 - alone_at_most)) - log(base_rate / (1.0 - base_rate))


def early_recall(labels: NDArray[np.int64], odds: NDArray[np.float64]) -> float:
    """The mean share of abusive rows above each of the highest honest ones, down to a few per cent of them."""
    honest, abusive = np.sort(odds[labels == 0])[::-1], np.sort(odds[labels == 1])
    if not len(honest) or not len(abusive):
        return 0.0
    highest = honest[: max(1, round(FEW_HONEST * len(honest)))]
    return float(np.mean(1.0 - np.searchsorted(abusive, highest, side="right") / len(abusive)))
