"""Signals × weights → a score with its reasons. A family's weights are capped, so that no signal alone condemns.

Two sums of evidence, `bot` and `scam`, each in log odds above a common bias, become probabilities; `risk` is that of
either being true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from gate.core.score import Reason, Score, Stamp
from gate.core.signal import Signal

MAX_REASONS = 5


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Weights in log odds at a signal's full value. `caps` by family bounds what it adds to either sum.

    `weights` maps a signal to (bot, scam, family's cap), made ready for the loop; `hash` names the whole in scores.
    """

    hash: str
    bias: float
    weights: Mapping[Signal, tuple[float, float, str]]
    caps: Mapping[str, float]

    def score(
        self, account: str, signals: list[tuple[Signal, float]], at_us: int, scored_at_us: int, stamp: Stamp
    ) -> Score:
        """The score that these signals, each in [0, 1], carry."""
        bots: dict[str, float] = {}
        scams: dict[str, float] = {}
        reasons: list[tuple[float, Signal, float, float]] = []
        for signal, value in signals:
            bot, scam, family = self.weights[signal]
            bots[family] = bots.get(family, 0.0) + bot * value
            scams[family] = scams.get(family, 0.0) + scam * value
            heaviest = max(bot, scam)
            reasons.append((heaviest * value, signal, value, heaviest))
        bot_risk = self._probability(bots)
        scam_risk = self._probability(scams)
        reasons.sort(reverse=True)
        told = tuple(Reason(s.value, v, w) for part, s, v, w in reasons[:MAX_REASONS] if part > 0.0)
        risk = 1.0 - (1.0 - bot_risk) * (1.0 - scam_risk)
        return Score(account, bot_risk, scam_risk, risk, told, at_us, scored_at_us, stamp, self.hash)

    def _probability(self, evidence: dict[str, float]) -> float:
        caps = self.caps
        total = self.bias
        for family, amount in evidence.items():
            cap = caps[family]
            total += cap if amount > cap else amount
        return 1.0 / (1.0 + exp(-total))
