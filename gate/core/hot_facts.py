"""Devices and networks that so many accounts share that their next account is met by what they have earned.

The stream worker publishes them with the risk that its scorecard gives to an account that nobody has seen. The gate
holds them in bounded memory and looks two of them up at each check. Leaves how they arrive to `gate.stores`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from gate.core.duration import DAY_US

MOST: Final = 10_000
"""Hot facts that a gate holds, about 400 bytes each."""
LONGEST_DAYS: Final = 8
"""A hot fact is believed for so many days at most."""
YOUNG_US: Final = 7 * DAY_US
"""Age up to which an account is met by a hot fact. An older one may be in a library, and its own events say more."""


class HotKind(StrEnum):
    """What accounts share."""

    DEVICE = "device"
    NETWORK = "network"


class SharedFeature(msgspec.Struct, frozen=True, gc=False):
    """A device or a network, as its pseudonym, that `accounts` share, of which some are `established`: old and clean.

    `risk` in [0, 1] is that of an account of which nothing else is known. The fact holds before the day `expires_day`,
    counted from 1970.
    """

    kind: HotKind
    hash: str
    accounts: int
    established: int
    risk: float
    expires_day: int


class MetFact(msgspec.Struct, frozen=True, gc=False):
    """The hot fact that an upload meets: its risk, and `name`, by which staff find it.

    It speaks of an account without a score, and if it `is_for_scored` also of one with a score.
    """

    risk: float
    name: str
    is_for_scored: bool


class HotFactTable:
    """The hot facts that a gate knows, `most` at most: those of the highest risk. Used by one thread.

    `devices` and `networks` hold them by pseudonym. A caller may see there that nothing is hot, and change nothing.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._by_kind: dict[HotKind, dict[str, SharedFeature]] = {kind: {} for kind in HotKind}
        self.devices = self._by_kind[HotKind.DEVICE]
        self.networks = self._by_kind[HotKind.NETWORK]
        self._day = 0

    def __len__(self) -> int:
        return len(self.devices) + len(self.networks)

    def put(self, fact: SharedFeature, now_us: int) -> None:
        """Keep `fact` in place of what was known of the same feature; a full table drops the lowest risk."""
        self._age(now_us)
        if not self._day < fact.expires_day <= self._day + LONGEST_DAYS:
            self.drop(fact.kind, fact.hash)
            return
        held = self._by_kind[fact.kind]
        if fact.hash not in held and len(self) >= self._most:
            lowest = min((each for table in self._by_kind.values() for each in table.values()), key=_worth)
            if _worth(lowest) >= _worth(fact):
                return
            self.drop(lowest.kind, lowest.hash)
        held[fact.hash] = fact

    def drop(self, kind: HotKind, hash_: str) -> None:
        """The feature is not hot any more."""
        self._by_kind[kind].pop(hash_, None)

    def met(self, device: str | None, network: str | None, created_at: datetime | None, now_us: int) -> MetFact | None:
        """The hot fact of the highest risk that an upload from these pseudonyms meets, of an account created then.

        None where neither is hot, or where the account is known to be older than `YOUNG_US`. An account of unknown age
        is met by it only as long as it has no score.
        """
        fact = self.devices.get(device) if device is not None else None
        other = self.networks.get(network) if network is not None else None
        if other is not None and (fact is None or other.risk > fact.risk):
            fact = other
        if fact is None or now_us >= fact.expires_day * DAY_US:
            return None
        if created_at is not None and now_us - int(created_at.timestamp() * 1_000_000) > YOUNG_US:
            return None
        return MetFact(fact.risk, f"{fact.kind}:{fact.hash}", created_at is not None)

    def _age(self, now_us: int) -> None:
        """Once a day, drop what has expired."""
        day = now_us // DAY_US
        if day == self._day:
            return
        self._day = day
        for table in self._by_kind.values():
            for fact in [fact for fact in table.values() if fact.expires_day <= day]:
                del table[fact.hash]


def _worth(fact: SharedFeature) -> tuple[float, int, str]:
    return fact.risk, fact.accounts, fact.hash
