"""The earned risk of a device or a network: the risk of a new account there without any other evidence.

The scorecard computes it from the vector of an account that was just created and uploads for the first time from there.
With one difference: the signal of sharing grows beyond its full value, because a device of thirty accounts is stronger
evidence than one of eight. The family's cap bounds it, as it bounds every signal.

Established accounts lower the risk: the number of accounts that are not established counts, times their share.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log2
from types import MappingProxyType
from typing import Final

from gate.core.score import Stamp
from gate.core.signal import Signal
from streams.core.crowd import DEVICE, IP
from streams.core.features import FEATURES, Features
from streams.core.scorecard import Scorecard
from streams.core.signals import signals
from streams.core.signals.network import FULL_DEVICE_DOUBLINGS, FULL_IP_DOUBLINGS

_SIGNALS: Final[Mapping[int, tuple[int, float]]] = MappingProxyType(
    {
        IP: (list(Signal).index(Signal.NETWORK_IP_ACCOUNTS), FULL_IP_DOUBLINGS),
        DEVICE: (list(Signal).index(Signal.NETWORK_DEVICE_ACCOUNTS), FULL_DEVICE_DOUBLINGS),
    }
)
"""The place of the signal by kind, and how many doublings of the accounts give its full value."""
_NEWBORN: Final = Features(*[0.0] * len(FEATURES))._replace(uploads=1.0, age_known=1.0, freshness=1.0)
_NOBODY: Final = Stamp("", 0)


def earned_risk(scorecard: Scorecard, kind: int, accounts: int, established: int) -> float:
    """The risk in [0, 1] of a newborn account on a feature of `kind` (IP or DEVICE) that so many accounts share."""
    values = list(signals(_NEWBORN))
    others = max(0, accounts - established)
    weighed = others * others / accounts if accounts else 0.0
    if weighed > 1.0:
        place, doublings = _SIGNALS[kind]
        values[place] = log2(weighed) / doublings
    return scorecard.score("", values, 0, 0, _NOBODY).risk
