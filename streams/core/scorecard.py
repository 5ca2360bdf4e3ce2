"""Signals × weights → a score with its reasons. A family's weights are capped, so that no signal alone condemns.

Two sums of evidence, `bot` and `scam`, each in log odds above a common bias, become probabilities; `risk` is that of
either being true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from types import MappingProxyType

from gate.core.score import Reason, Score, Stamp
from gate.core.signal import Signal

MAX_REASONS = 5
_NOTHING: Mapping[str, bytes] = MappingProxyType({})

Weighed = tuple[int, float, float, float, str]
"""A signal's place in the order of `Signal`, its weights for bot and scam, the heavier of both, and its name."""


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Weights in log odds at a signal's full value. `caps` by family bounds what it adds to either sum or takes from it.

    `weights` maps signals to (bot, scam); a signal without weights says nothing. `hash` names the whole in scores.
    What speaks against an account halves with every `half_life_us` that it does nothing; 0: it does not.
    """

    hash: str
    bias: float
    weights: Mapping[str, tuple[float, float]]
    caps: Mapping[str, float]
    half_life_us: int = 0
    base: float = field(init=False)
    """The risk of an account without evidence."""
    _families: tuple[tuple[float, tuple[Weighed, ...]], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        families: dict[str, list[Weighed]] = {}
        for place, signal in enumerate(Signal):
            bot, scam = self.weights.get(signal, (0.0, 0.0))
            if bot or scam:
                heaviest = min(bot, scam) if signal.speaks_for else max(bot, scam)
                families.setdefault(signal.family, []).append((place, bot, scam, heaviest, signal.value))
        ready = tuple([(self.caps[family], tuple(weighed)) for family, weighed in families.items()])
        object.__setattr__(self, "_families", ready)
        without = 1.0 / (1.0 + exp(-self.bias))
        object.__setattr__(self, "base", without + without - without * without)

    def score(
        self, account: str, values: Sequence[float], at_us: int, scored_at_us: int, stamp: Stamp, acts: bool = True
    ) -> Score:
        """The score that these values carry: one for each signal in the order of `Signal`, each in [0, 1].

        One that does not act refuses nothing.
        """
        bot = scam = self.bias
        carried: list[tuple[float, str, float, float]] = []
        for cap, weighed in self._families:
            family_bot = family_scam = 0.0
            for place, bot_weight, scam_weight, heaviest, signal in weighed:
                value = values[place]
                if value:
                    family_bot += bot_weight * value
                    family_scam += scam_weight * value
                    carried.append((heaviest * value, signal, value, heaviest))
            bot += family_bot if -cap < family_bot < cap else cap if family_bot > 0.0 else -cap
            scam += family_scam if -cap < family_scam < cap else cap if family_scam > 0.0 else -cap
        carried.sort(reverse=True)
        reasons = tuple([Reason(signal, value, weight) for _, signal, value, weight in carried[:MAX_REASONS]])
        bot = 1.0 / (1.0 + exp(-bot))
        scam = 1.0 / (1.0 + exp(-scam))
        risk = bot + scam - bot * scam
        half_life_us, base = self.half_life_us, self.base
        return Score(
            account, bot, scam, risk, reasons, at_us, scored_at_us, stamp, self.hash, _NOTHING, half_life_us, base, acts
        )
