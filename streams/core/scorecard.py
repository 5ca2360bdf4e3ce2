"""Signals × weights → a score with its reasons. A family's weights are capped, so that no signal alone condemns.

Two sums of evidence, `bot` and `scam`, each in log odds above a common bias, become probabilities; `risk` is that of
either being true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp

from gate.core.score import Reason, Score, Stamp

MAX_REASONS = 5

Found = list[tuple[str, float]]
"""What the families of signals append to and a scorecard weighs: signals above 0 by name, with their values in (0, 1];
those of one family stand together."""


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Weights in log odds at a signal's full value. `caps` by family bounds what it adds to either sum.

    `weights` maps every signal to (bot, scam, family), made ready for the loop; `hash` names the whole in scores.
    """

    hash: str
    bias: float
    weights: Mapping[str, tuple[float, float, str]]
    caps: Mapping[str, float]

    def score(
        self, account: str, signals: Sequence[tuple[str, float]], at_us: int, scored_at_us: int, stamp: Stamp
    ) -> Score:
        """The score that these signals, each in [0, 1], carry; those of one family must stand together."""
        caps = self.caps
        weights = self.weights
        bot = scam = self.bias
        family = ""
        family_bot = family_scam = cap = 0.0
        carried: list[tuple[float, str, float, float]] = []
        for signal, value in signals:
            bot_weight, scam_weight, of = weights[signal]
            if of != family:
                bot += family_bot if family_bot < cap else cap
                scam += family_scam if family_scam < cap else cap
                family, cap, family_bot, family_scam = of, caps[of], 0.0, 0.0
            family_bot += bot_weight * value
            family_scam += scam_weight * value
            heaviest = bot_weight if bot_weight > scam_weight else scam_weight
            if heaviest > 0.0:
                carried.append((heaviest * value, signal, value, heaviest))
        bot += family_bot if family_bot < cap else cap
        scam += family_scam if family_scam < cap else cap
        carried.sort(reverse=True)
        reasons = tuple([Reason(signal, value, weight) for _, signal, value, weight in carried[:MAX_REASONS]])
        bot = 1.0 / (1.0 + exp(-bot))
        scam = 1.0 / (1.0 + exp(-scam))
        risk = bot + scam - bot * scam
        return Score(account, bot, scam, risk, reasons, at_us, scored_at_us, stamp, self.hash)
