"""Network: how many accounts come from the same address and the same device. A device is rarely shared, a campus is."""

from __future__ import annotations

from math import log2

from gate.core.signal import Signal
from streams.core.account import State
from streams.core.signals.surroundings import Found, Surroundings


def read(state: State, around: Surroundings, found: Found) -> None:
    """`network.ip_accounts` reaches 1 at 32 accounts, `network.device_accounts` at 8; one account says nothing."""
    if around.ip_accounts > 1:
        found.append((Signal.NETWORK_IP_ACCOUNTS, min(1.0, log2(around.ip_accounts) / 5.0)))
    if around.device_accounts > 1:
        found.append((Signal.NETWORK_DEVICE_ACCOUNTS, min(1.0, log2(around.device_accounts) / 3.0)))
