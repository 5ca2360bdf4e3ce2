"""Judges a scorecard on labelled accounts, by the code that the worker runs: figures by account.

Accounts are judged by their last risk. Accounts with enough events are also judged by their risk after 5, 20 and 100 of
them, or the numbers of `--after`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gate.errors import OperatorError
from streams.core.features import FAMILIES, PLACE
from streams.core.models.link_odds import ReadsLinks
from streams.core.models.marks import ReadsCaptions
from streams.core.models.name_model import NameModel
from streams.core.scorecard import Scorecard, without
from streams.lab.detection_figures import auc_of, calibration_error, recall_at_share, rounded
from streams.lab.rows import ABUSIVE, BENIGN, Recorded
from streams.lab.shadow_figures import ShadowFigures, shadow_figures
from streams.lab.snapshots import FeatureSnapshot, FoldedStream, fold_stream

Odds = NDArray[np.float64]
Labels = NDArray[np.int64]

AFTER: Final = (5, 20, 100)
RISKS: Final = (0.5, 0.7, 0.85)
"""Risks from which the shipped policy reviews, challenges and denies uploads of new accounts."""
MOVED: Final = 0.1
"""Log odds from which a family counts as having moved an account."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How accounts rank after a number of events. A figure is None if all are of one class."""

    accounts: int
    auc: float | None
    recall_at_1pct_fpr: float | None
    recall_at_half_pct_fpr: float | None


@dataclass(frozen=True, slots=True)
class Moved:
    """The share of accounts that a family moves toward their label (`useful`), and away from it (`harmful`)."""

    useful: float
    harmful: float


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """The figures of one evaluation.

    `benign_at_least` and `abusive_at_least` are the shares of accounts whose last risk reaches a bound. `ece` is the
    calibration error of the last risk, moved from the scorecard's base rate to the share of abuse among these accounts.
    """

    accounts: int
    positives: int
    last: Ranking
    after: dict[int, Ranking]
    benign_at_least: dict[float, float | None]
    abusive_at_least: dict[float, float | None]
    ece: float | None
    state_bytes: tuple[int, int]
    us_per_event: float
    families: dict[str, Moved]
    curves: Curves
    shadow: ShadowFigures | None = None

    def as_json(self) -> dict[str, Any]:
        """The JSON that `-o json` prints."""
        last = self.last
        return {
            "accounts": self.accounts,
            "positives": self.positives,
            "auc": rounded(last.auc),
            "recall_at_1pct_fpr": rounded(last.recall_at_1pct_fpr),
            "recall_at_half_pct_fpr": rounded(last.recall_at_half_pct_fpr),
            "after": {
                str(count): {
                    "auc": rounded(one.auc),
                    "recall_at_1pct_fpr": rounded(one.recall_at_1pct_fpr),
                    "accounts": one.accounts,
                }
                for count, one in self.after.items()
            },
            "benign_at_least": {f"{bound:g}": rounded(share) for bound, share in self.benign_at_least.items()},
            "abusive_at_least": {f"{bound:g}": rounded(share) for bound, share in self.abusive_at_least.items()},
            "ece": rounded(self.ece),
            "state_bytes": {"median": self.state_bytes[0], "most": self.state_bytes[1]},
            "us_per_event": round(self.us_per_event, 2),
            "families": {
                name: {"useful": round(moved.useful, 4), "harmful": round(moved.harmful, 4)}
                for name, moved in self.families.items()
            },
            **({} if self.shadow is None else {"shadow": self.shadow.as_json()}),
        }


@dataclass(frozen=True, slots=True)
class Curves:
    """The data of the plots: labels, log odds of the last risk, and log odds by number of events.

    `risks` are the last risks, moved to the share of abuse among these accounts.
    """

    labels: Labels
    log_odds: Odds
    risks: Odds
    after: dict[int, tuple[Labels, Odds]]
    families: dict[str, Odds]


def evaluate_accounts(
    uploads: Sequence[Recorded],
    scorecard: Scorecard,
    captions: ReadsCaptions | None,
    after: Collection[int] = AFTER,
    left_out: Collection[str] = (),
    links: ReadsLinks | None = None,
    shadow: Scorecard | None = None,
    names: NameModel | None = None,
) -> AccountFigures:
    """The figures of `scorecard` without what is left out; `shadow` judges the same features beside it.

    `captions`, `links` and `names` give the features, as in the worker.

    Raises OperatorError for a name that is no feature or family.
    """
    for name in left_out:
        if name not in PLACE and name not in FAMILIES:
            known = ", ".join(sorted({*FAMILIES, *PLACE}))
            raise OperatorError(f"--without {name} is neither a feature nor a family", f"known are {known}")
    card = without(scorecard, left_out) if left_out else scorecard
    folded = fold_stream(uploads, card, captions, after, links, names)
    last = [one for one in folded.last().values() if folded.labels[one.account] in (BENIGN, ABUSIVE)]
    if not last:
        raise OperatorError("no account has a label of 0 or 1", "give a labelled stream")
    labels, odds = _judged(card, folded, last)
    by_count = {
        count: _judged(card, folded, [one for one in folded.snapshots if one.events == count and not one.again])
        for count in sorted(set(after))
    }
    risks = 1.0 / (1.0 + np.exp(-odds))
    sizes = np.array(sorted(map(len, folded.states.values())) or [0])
    families = _family_odds(card, last)
    return AccountFigures(
        len(labels),
        int(labels.sum()),
        _ranking(labels, odds),
        {count: _ranking(*judged) for count, judged in by_count.items()},
        {bound: _share(risks[labels == BENIGN], bound) for bound in RISKS},
        {bound: _share(risks[labels == ABUSIVE], bound) for bound in RISKS},
        _calibration(labels, odds, card.base_rate),
        (int(np.median(sizes)), int(sizes[-1])),
        folded.us_per_event,
        {name: _moved(labels, of) for name, of in families.items()},
        Curves(labels, odds, _at_share(labels, odds, card.base_rate), by_count, families),
        None if shadow is None else shadow_figures(shadow.hash, labels, odds, _judged(shadow, folded, last)[1]),
    )


def _judged(card: Scorecard, folded: FoldedStream, snapshots: Sequence[FeatureSnapshot]) -> tuple[Labels, Odds]:
    """The labels and the log odds of labelled accounts."""
    chosen = [one for one in snapshots if folded.labels[one.account] in (BENIGN, ABUSIVE)]
    if not chosen:
        return np.zeros(0, np.int64), np.zeros(0)
    labels = np.array([folded.labels[one.account] for one in chosen], np.int64)
    return labels, card.log_odds(np.array([one.vector for one in chosen]))


def _ranking(labels: Labels, odds: Odds) -> Ranking:
    if not 0 < labels.sum() < len(labels):
        return Ranking(len(labels), None, None, None)
    return Ranking(
        len(labels), auc_of(labels, odds), recall_at_share(labels, odds, 0.01), recall_at_share(labels, odds, 0.005)
    )


def _share(risks: Odds, bound: float) -> float | None:
    return float((risks >= bound).mean()) if len(risks) else None


def _at_share(labels: Labels, odds: Odds, base_rate: float) -> Odds:
    """The risks, moved from the base rate to the share of abuse among these accounts."""
    share = min(max(float(labels.mean()), 1e-6), 1.0 - 1e-6)
    moved = odds - log(base_rate / (1.0 - base_rate)) + log(share / (1.0 - share))
    risks: Odds = 1.0 / (1.0 + np.exp(-moved))
    return risks


def _calibration(labels: Labels, odds: Odds, base_rate: float) -> float | None:
    if not 0 < labels.sum() < len(labels):
        return None
    return calibration_error(labels, _at_share(labels, odds, base_rate))


def _family_odds(card: Scorecard, snapshots: Sequence[FeatureSnapshot]) -> dict[str, Odds]:
    """What each family adds to the log odds of each account, its cap in force."""
    parts = card.contributions(np.array([one.vector for one in snapshots]))
    families: dict[str, Odds] = {}
    for family in dict.fromkeys(term.family for term in card.terms):
        chosen = [number for number, term in enumerate(card.terms) if term.family == family]
        most = card.most_alone(family)
        families[family] = np.clip(parts[:, chosen].sum(1), -most, most)
    return families


def _moved(labels: Labels, odds: Odds) -> Moved:
    right = np.where(labels == ABUSIVE, odds, -odds)
    return Moved(float((right >= MOVED).mean()), float((right <= -MOVED).mean()))
