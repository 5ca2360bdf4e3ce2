"""Network: how many accounts come from the same address and the same device. A device is rarely shared, a campus is."""

from __future__ import annotations

from math import log2

from gate.core.signal import Signal
from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.scorecard import Found
from streams.core.signals.age import freshness

IP_ACCOUNTS = str(Signal.NETWORK_IP_ACCOUNTS)
DEVICE_ACCOUNTS = str(Signal.NETWORK_DEVICE_ACCOUNTS)
OLD_WORTH = 0.3
"""What sharing says of an old account or one of unknown age, against a newborn one: the old one may be in a library."""


def read(state: Facts, at_us: int, around: Surroundings, found: Found) -> None:
    """`network.ip_accounts` reaches 1 at 32 accounts, `network.device_accounts` at 8, for a newborn account."""
    fresh = freshness(state, at_us) if state.created_us else 0.0
    worth = OLD_WORTH + (1.0 - OLD_WORTH) * fresh
    if around.ip_accounts > 1:
        found.append((IP_ACCOUNTS, worth * min(1.0, log2(around.ip_accounts) / 5.0)))
    if around.device_accounts > 1:
        found.append((DEVICE_ACCOUNTS, worth * min(1.0, log2(around.device_accounts) / 3.0)))
