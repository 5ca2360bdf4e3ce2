"""How suspicious an account is: bot, scam and their combination risk, each in [0, 1], with what carried them."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log
from typing import Final

import msgspec

SUREST: Final = 1e-6
"""A risk closer than this to 0 or to 1 decays as if it were that far away: certainty has no finite log odds."""


def risk_at(risk: float, at_us: int, half_life_us: int, base: float, now_us: int) -> float:
    """The risk that a score says at `now_us`, if it was `risk` at `at_us`.

    The evidence is what the log odds of `risk` have above those of `base`, the risk of an account without evidence. It
    halves with every `half_life_us`; 0 means that it does not decay. A risk at or below the base stays, as does one
    that is not in the past. The Redis script computes the same.
    """
    age_us = now_us - at_us
    if half_life_us <= 0 or age_us <= 0 or risk <= base:
        return risk
    low, high = _log_odds(base), _log_odds(risk)
    decayed: float = low + (high - low) * 2.0 ** -(age_us / half_life_us)
    return min(risk, 1.0 / (1.0 + exp(-decayed)))


def _log_odds(risk: float) -> float:
    bounded = min(max(risk, SUREST), 1.0 - SUREST)
    return log(bounded / (1.0 - bounded))


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One signal's part in a score: its value in [0, 1] and the weight it was given."""

    signal: str
    value: float
    weight: float


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """Which state of the stream a score follows from.

    `epoch` names the topic's incarnation (cluster and topic id), `offset` the event folded last. Within one epoch a
    score with a lower offset never replaces one with a higher; a new epoch replaces any.
    """

    epoch: str
    offset: int


class Score(msgspec.Struct, frozen=True, gc=False):
    """An account's score. `at_us` is event time, `scored_at_us` the wall clock, both µs since 1970.

    The risk decays towards `base`, that of an account without evidence, by half with every `half_life_us` (`risk_at`);
    0 means that it does not decay. A score that does not act was made while the stream was far behind: it is shown, and
    refuses nothing. `extra` holds fields of a newer release as JSON by name, which are written again.
    """

    account: str
    bot: float
    scam: float
    risk: float
    reasons: tuple[Reason, ...]
    at_us: int
    scored_at_us: int
    stamp: Stamp
    scorecard: str
    extra: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    half_life_us: int = 0
    base: float = 0.0
    acts: bool = True
