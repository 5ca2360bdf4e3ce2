"""The earned risk of a device or a network: the risk of a new account there without any other evidence.

The scorecard computes it from the vector of an account that was just created and uploads for the first time from there.
Established accounts lower the risk, as they do for an account that comes from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gate.core.score import Stamp
from streams.core.crowd import DEVICE, IP, Surroundings
from streams.core.facts import Facts
from streams.core.features import PLACE, features
from streams.core.features.network import strangers
from streams.core.scorecard import Scorecard

_PLACES: Final[Mapping[int, int]] = MappingProxyType({IP: PLACE["ip_strangers"], DEVICE: PLACE["device_strangers"]})
_BORN_US: Final = 1
_NEWBORN: Final = features(
    Facts(created_us=_BORN_US, latest_us=_BORN_US, first_us=_BORN_US, last_us=_BORN_US, uploads=1), Surroundings()
)
_NOBODY: Final = Stamp("", 0)


def earned_risk(scorecard: Scorecard, kind: int, accounts: int, established: int) -> float:
    """The risk in [0, 1] of a newborn account on a feature of `kind` (IP or DEVICE) that so many accounts share."""
    vector = list(_NEWBORN)
    vector[_PLACES[kind]] = strangers(accounts, established)
    return scorecard.score("", vector, 0, 0, _NOBODY).risk
