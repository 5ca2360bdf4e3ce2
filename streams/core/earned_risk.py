"""The earned risk of a device or a network: the risk of the next new account there without any other evidence.

The scorecard computes it from the vector of an account that was just created and uploads for the first time from there.
That account counts among those that share the feature, as it will once its upload is scored; nobody else shares its
other features. Established accounts lower the risk, as they do for an account that comes from there.

The risk of a newcomer follows from the time between its creation and its first upload alone: nothing else is known yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf, log2
from types import MappingProxyType
from typing import Final

import numpy as np

from gate.core.duration import DAY_US, MINUTE_US
from gate.core.score import Stamp
from streams.core.crowd import DEVICE, IP, Surroundings
from streams.core.facts import Facts
from streams.core.features import FEATURES, features
from streams.core.features.places import PLACE_BYTES
from streams.core.scorecard import Scorecard, Term
from streams.core.scorecard.scale import log_odds_of, probability

MOST_TRIED: Final = 1_024
"""Accounts up to which `least_accounts` looks for a risk."""
LEAST_RISK: Final = 0.3
"""The least earned risk that is published to gates; a lower one is below every class's threshold."""
AGES_S: Final = (10, 30, 60, 600, 3_600, 21_600, 86_400)
"""Ages for which the risk of newcomers is published."""
_AGE: Final = frozenset(feature.name for feature in FEATURES if feature.family == "age")
_SECOND_US: Final = 1_000_000
_BORN_US: Final = 1
_ONE_PLACE: Final = bytes(PLACE_BYTES)
_NOBODY: Final = Stamp("", 0)
_FEATURES: Final[Mapping[int, str]] = MappingProxyType({IP: "ip", DEVICE: "device"})


def earned_risk(scorecard: Scorecard, kind: int, accounts: int, established: int, age_us: int = 0) -> float:
    """The risk in [0, 1] of an account on a feature of `kind` (IP or DEVICE) that so many others share.

    The account uploads for the first time, `age_us` after its creation.
    """
    shared = {"ip_accounts": 1, "device_accounts": 1}
    shared[f"{_FEATURES[kind]}_accounts"] = accounts + 1
    shared[f"{_FEATURES[kind]}_established"] = established
    vector = features(_newcomer(age_us), Surroundings(**shared))
    return scorecard.score("", vector, 0, 0, _NOBODY).risk


def newcomer_risks(scorecard: Scorecard) -> dict[int, float]:
    """The risk of an account that uploads for the first time within so many seconds of its creation, for each of `AGES_S`.

    It is that of an account of the base rate whose age alone is known, at most the scorecard's `alone_at_most`. An account
    that uploads sooner has at least this risk: where the scorecard trusts those that upload at once, as where the first
    upload creates the account, no later age has a higher risk.
    """
    of_age = [number for number, term in enumerate(scorecard.terms) if _AGE.issuperset(term.features)]
    ages_us = sorted({0, *(s * _SECOND_US for s in AGES_S), *_changes(scorecard.terms[number] for number in of_age)})
    vectors = np.array([features(_newcomer(age_us), Surroundings()) for age_us in ages_us])
    odds = scorecard.contributions(vectors)[:, of_age].sum(axis=1)
    capped = np.minimum.accumulate(np.minimum(odds, scorecard.lower_caps.get("age", inf)))
    last = np.searchsorted(ages_us, [seconds * _SECOND_US for seconds in AGES_S]) - 1
    base = log_odds_of(scorecard.base_rate)
    risks = (min(scorecard.alone_at_most, probability(base + each)) for each in capped[last].tolist())
    return dict(zip(AGES_S, risks, strict=True))


def _changes(terms: Iterable[Term]) -> set[int]:
    """The ages in µs, up to the last of `AGES_S`, from which these terms of age may give other points."""
    cuts = [cut for term in terms for cut in zip(term.features, term.cuts, strict=True)]
    ages = [_age_us(feature, cut) for feature, of_feature in cuts for cut in of_feature]
    return {int(age) + more for age in ages if 0.0 < age < AGES_S[-1] * _SECOND_US for more in (0, 1)}


def _age_us(feature: str, cut: float) -> float:
    """The age at which the feature of an account that uploads at once reaches the cut."""
    if feature == "freshness":
        return -log2(cut) * DAY_US if cut > 0.0 else inf
    return cut * (MINUTE_US if feature == "first_action_minutes" else DAY_US)


def _newcomer(age_us: int) -> Facts:
    at_us = _BORN_US + age_us
    return Facts(
        created_us=_BORN_US,
        latest_us=at_us,
        first_us=at_us,
        last_us=at_us,
        uploads=1,
        networks=_ONE_PLACE,
        devices=_ONE_PLACE,
    )


def least_accounts(scorecard: Scorecard, kind: int, risk: float, at_least: int) -> int:
    """The least number of accounts, none of them established, that earn a feature of `kind` this risk.

    It is at least `at_least`, and `MOST_TRIED` if fewer do not earn it.
    """
    tried = range(at_least, MOST_TRIED)
    return next((n for n in tried if earned_risk(scorecard, kind, n, 0) >= risk), max(at_least, MOST_TRIED))
