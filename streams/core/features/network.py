"""Network: how many accounts come from the same address and the same device.

Few accounts share a device; many share the address of a campus. Accounts that share a school's tablet are mostly old.
"""

from __future__ import annotations

from streams.core.crowd import Surroundings
from streams.core.features.fact_features import Sharing
from streams.core.features.feature import Feature
from streams.core.features.places import PLACE_BYTES

FEATURES = (
    Feature("ip_accounts", "network", "accounts known to share a network with the account, itself among them; 0 without "
            "an upload", "accounts"),
    Feature("device_accounts", "network", "accounts known to share a device with the account, itself among them; 0 "
            "without an upload", "accounts"),
    Feature("ip_strangers", "network", "those among them that are not established, times their share", "accounts"),
    Feature("device_strangers", "network", "the same of the accounts that share a device", "accounts"),
    Feature("networks", "network", "distinct networks the account came from last, four at most", "networks", 0.0, 4.0),
    Feature("devices", "network", "distinct devices the account came from last, four at most", "devices", 0.0, 4.0),
)  # fmt: skip


def read(facts: Sharing, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    networks, devices = len(facts.networks) // PLACE_BYTES, len(facts.devices) // PLACE_BYTES
    if not facts.uploads:
        return 0, 0, 0, 0, networks, devices
    ip_accounts, device_accounts = around.ip_accounts, around.device_accounts
    return (
        ip_accounts,
        device_accounts,
        strangers(ip_accounts, around.ip_established),
        strangers(device_accounts, around.device_established),
        networks,
        devices,
    )


def strangers(accounts: int, established: int) -> float:
    """The accounts that are not established times their share: old and clean ones speak for a place and those there."""
    if not established:
        return accounts
    others = max(0, accounts - established)
    return others * others / accounts
