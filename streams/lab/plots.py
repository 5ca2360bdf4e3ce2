"""Draws how a scorecard judges accounts: ROC near zero, calibration, delay by events, and what families contribute.

Each plot is written as PNG and as SVG. The same figures give the same drawing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from gate.errors import OperatorError
from gate.extras import install_extra
from streams.lab.detection_figures import BINS
from streams.lab.evaluate_accounts import AccountFigures, Curves

MOST_FALSE_POSITIVES: Final = 0.05
FORMATS: Final = ("png", "svg")


def draw_accounts(figures: AccountFigures, directory: Path) -> Iterator[Path]:
    """Write the plots into `directory`, which is created, and yield each file. Raises OperatorError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise OperatorError("--plots needs matplotlib, which is not installed", install_extra("fit")) from None
    directory.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[Any, AccountFigures], None]] = {
        "roc": _roc,
        "calibration": _calibration,
        "delay": _delay,
        "contributions": _contributions,
    }
    for name, draw in drawings.items():
        figure = Figure(figsize=(6.4, 4.8), layout="constrained")
        draw(figure.subplots(), figures)
        for kind in FORMATS:
            file = directory / f"accounts-{name}.{kind}"
            figure.savefig(file, metadata={"Date": None} if kind == "svg" else None)
            yield file


def _roc(axes: Any, figures: AccountFigures) -> None:
    """The share of abusive accounts above each threshold, for the few honest ones above it."""
    curves = {"last risk": (figures.curves.labels, figures.curves.log_odds)}
    curves |= {f"after {count} events": of for count, of in figures.curves.after.items()}
    for name, (labels, odds) in curves.items():
        if not 0 < labels.sum() < len(labels):
            continue
        honest, abusive = np.sort(odds[labels == 0])[::-1], odds[labels == 1]
        shares = np.arange(len(honest)) / len(honest)
        recall = np.array([(abusive > threshold).mean() for threshold in honest])
        near = shares <= MOST_FALSE_POSITIVES
        axes.step(shares[near], recall[near], where="post", label=name)
    axes.set(xlabel="share of honest accounts above", ylabel="share of abusive accounts above", ylim=(0, 1))
    axes.set_title("ROC near zero")
    axes.legend(loc="lower right")


def _calibration(axes: Any, figures: AccountFigures) -> None:
    """How often accounts of each risk are abusive, moved to the share of abuse among these accounts."""
    labels, risks = figures.curves.labels, figures.curves.risks
    bins = np.minimum((risks * BINS).astype(np.int64), BINS - 1)
    for number in range(BINS):
        inside = bins == number
        if inside.any():
            axes.scatter(risks[inside].mean(), labels[inside].mean(), s=10 + 300 * inside.mean(), color="C0")
    axes.plot((0, 1), (0, 1), color="grey", linewidth=1)
    axes.set(xlabel="mean risk", ylabel="share that is abusive", xlim=(0, 1), ylim=(0, 1))
    axes.set_title("Calibration; larger dots hold more accounts")


def _delay(axes: Any, figures: AccountFigures) -> None:
    """Recall by the number of events that an account has had."""
    known = [(count, one) for count, one in figures.after.items() if one.recall_at_1pct_fpr is not None]
    counts = [count for count, _ in known]
    axes.plot(counts, [one.recall_at_1pct_fpr for _, one in known], marker="o", label="at 1 % false positives")
    axes.plot(counts, [one.recall_at_half_pct_fpr for _, one in known], marker="o", label="at 0.5 % false positives")
    axes.set(xlabel="events of the account", ylabel="recall", ylim=(0, 1))
    axes.set_title("Delay")
    axes.legend(loc="lower right")


def _contributions(axes: Any, figures: AccountFigures) -> None:
    """The mean log odds that each family gives to abusive and to honest accounts."""
    curves: Curves = figures.curves
    names = list(curves.families)
    place = np.arange(len(names))
    for shift, label, title in ((-0.2, 1, "abusive"), (0.2, 0, "honest")):
        chosen = curves.labels == label
        means = [float(curves.families[name][chosen].mean()) if chosen.any() else 0.0 for name in names]
        axes.barh(place + shift, means, height=0.4, label=title)
    axes.set_yticks(place, names)
    axes.axvline(0, color="grey", linewidth=1)
    axes.set(xlabel="mean log odds")
    axes.set_title("Contributions by family")
    axes.legend()
