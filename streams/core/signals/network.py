"""Network: how many accounts come from the same address and the same device. A device is rarely shared, a campus is."""

from __future__ import annotations

from math import log2

from streams.core.features import Features

FULL_IP_DOUBLINGS = 5.0
FULL_DEVICE_DOUBLINGS = 3.0
"""How often the accounts double from one until the signal reaches 1."""
OLD_WORTH = 0.3
"""What sharing says of an old account or one of unknown age, against a newborn one: the old one may be in a library."""


def read(of: Features) -> tuple[float, float]:
    """`network.ip_accounts` reaches 1 at 32 accounts, `network.device_accounts` at 8, for a newborn account."""
    ips, devices = of.ip_accounts, of.device_accounts
    if not of.uploads or (ips <= 1 and devices <= 1):
        return 0.0, 0.0
    worth = OLD_WORTH + (1.0 - OLD_WORTH) * of.freshness
    return (
        worth * min(1.0, log2(ips) / FULL_IP_DOUBLINGS) if ips > 1 else 0.0,
        worth * min(1.0, log2(devices) / FULL_DEVICE_DOUBLINGS) if devices > 1 else 0.0,
    )
