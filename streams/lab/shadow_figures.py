"""Compares the risks of two scorecards on the same accounts, as a worker compares those of models in shadow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.lab.detection_figures import auc_of, recall_at_share
from streams.pipeline.effects.shadow import BANDS, LEVELS


@dataclass(frozen=True, slots=True)
class Crossing:
    """The accounts, by label, whose risk reaches a level with one scorecard only."""

    abusive_live: int
    abusive_shadow: int
    benign_live: int
    benign_shadow: int


@dataclass(frozen=True, slots=True)
class ShadowFigures:
    """How the scorecard `hash` in shadow judges the accounts that the live one judged, by their last risks.

    `apart` is the share of accounts by how far the risks are apart, at most each bound, as
    `upload_gate_shadow_scores` counts them. A figure is None if all labels are of one class.
    """

    hash: str
    auc: float | None
    recall_at_1pct_fpr: float | None
    mean_apart: float
    apart: dict[str, float]
    disagreements: dict[float, Crossing]

    def as_json(self) -> dict[str, Any]:
        """The JSON that `-o json` prints under `shadow`."""
        return {
            "scorecard": self.hash,
            "auc": None if self.auc is None else round(self.auc, 4),
            "recall_at_1pct_fpr": None if self.recall_at_1pct_fpr is None else round(self.recall_at_1pct_fpr, 4),
            "mean_apart": round(self.mean_apart, 4),
            "apart": {band: round(share, 4) for band, share in self.apart.items()},
            "disagreements": {
                f"{level:g}": {
                    "live": {"abusive": one.abusive_live, "benign": one.benign_live},
                    "shadow": {"abusive": one.abusive_shadow, "benign": one.benign_shadow},
                }
                for level, one in self.disagreements.items()
            },
        }


def shadow_figures(
    hash_: str, labels: NDArray[np.int64], live: NDArray[np.float64], shadow: NDArray[np.float64]
) -> ShadowFigures:
    """The figures for the labels (1 abusive, 0 honest) and both log odds of each account."""
    both = 0 < labels.sum() < len(labels)
    one, other = _risks(live), _risks(shadow)
    apart = np.abs(one - other)
    bands = np.searchsorted([float(band) for band in BANDS[:-1]], apart, side="left")
    shares = np.bincount(bands, minlength=len(BANDS)) / len(labels)
    return ShadowFigures(
        hash_,
        auc_of(labels, shadow) if both else None,
        recall_at_share(labels, shadow, 0.01) if both else None,
        float(apart.mean()),
        dict(zip(BANDS, shares.tolist(), strict=True)),
        {level: _crossing(labels, one >= level, other >= level) for level in LEVELS},
    )


def _crossing(labels: NDArray[np.int64], live: NDArray[np.bool_], shadow: NDArray[np.bool_]) -> Crossing:
    abusive = labels == 1
    return Crossing(
        int((live & ~shadow & abusive).sum()),
        int((shadow & ~live & abusive).sum()),
        int((live & ~shadow & ~abusive).sum()),
        int((shadow & ~live & ~abusive).sum()),
    )


def _risks(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    risks: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -500, 500)))
    return risks
