"""What a score takes from outside the account: how many accounts share what it used last."""

from __future__ import annotations

from typing import NamedTuple

from gate.core.signal import Signal

Found = list[tuple[Signal, float]]
"""Signals above 0 with their values in (0, 1]; families append to it, for a score is made at every batch."""


class Surroundings(NamedTuple):
    """Distinct accounts that share the account's last address, device, content and link host; 0 where it has none."""

    ip_accounts: int = 0
    device_accounts: int = 0
    content_accounts: int = 0
    link_accounts: int = 0
