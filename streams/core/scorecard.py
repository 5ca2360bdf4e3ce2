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

Weighed = tuple[int, float, float, float, float, str]
"""A signal's family by number and the family's cap, its weights for bot and scam, the heavier of both, and its name."""


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
    _weighed: tuple[Weighed | None, ...] = field(init=False, repr=False, compare=False)
    """One for each signal in the order of `Signal`, in which a family's signals stand together; None without weights."""

    def __post_init__(self) -> None:
        families = list(dict.fromkeys(signal.family for signal in Signal))
        ready: list[Weighed | None] = []
        for signal in Signal:
            bot, scam = self.weights.get(signal, (0.0, 0.0))
            heaviest = min(bot, scam) if signal.speaks_for else max(bot, scam)
            family = signal.family
            known = (
                (families.index(family), self.caps[family], bot, scam, heaviest, signal.value) if bot or scam else None
            )
            ready.append(known)
        object.__setattr__(self, "_weighed", tuple(ready))
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
        last, cap, family_bot, family_scam = -1, 0.0, 0.0, 0.0
        for weighed, value in zip(self._weighed, values, strict=True):
            if not value or weighed is None:  # most values are 0
                continue
            family, family_cap, bot_weight, scam_weight, heaviest, signal = weighed
            if family != last:
                bot += family_bot if -cap < family_bot < cap else cap if family_bot > 0.0 else -cap
                scam += family_scam if -cap < family_scam < cap else cap if family_scam > 0.0 else -cap
                last, cap, family_bot, family_scam = family, family_cap, 0.0, 0.0
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
