"""Network: how many accounts come from the same address and the same device. A device is rarely shared, a campus is."""

from __future__ import annotations

from math import log2

from streams.core.features import Features

OLD_WORTH = 0.3
"""What sharing says of an old account or one of unknown age, against a newborn one: the old one may be in a library."""


def read(of: Features) -> tuple[float, float]:
    """`network.ip_accounts` reaches 1 at 32 accounts, `network.device_accounts` at 8, for a newborn account."""
    ips, devices = of.ip_accounts, of.device_accounts
    if not of.uploads or (ips <= 1 and devices <= 1):
        return 0.0, 0.0
    worth = OLD_WORTH + (1.0 - OLD_WORTH) * of.freshness
    return (
        worth * min(1.0, log2(ips) / 5.0) if ips > 1 else 0.0,
        worth * min(1.0, log2(devices) / 3.0) if devices > 1 else 0.0,
    )
