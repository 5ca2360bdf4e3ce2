"""Hot facts: risks that apply to an account of which nothing else is known yet.

They are of devices and networks that many accounts share, with the risk that the scorecard gives to a new account there,
and of newcomers: accounts that upload for the first time so soon after their creation. The stream worker publishes them.
The gate holds them in bounded memory and looks them up at each check. `gate.stores` receives them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from heapq import heapify, heappop, heappush
from typing import Final

import msgspec

from gate.core.duration import DAY_US
from gate.core.fields.times import MAX_AHEAD_US

MOST: Final = 10_000
"""Hot facts of devices and networks that a gate holds, about 400 bytes each."""
LONGEST_DAYS: Final = 8
"""A hot fact expires after at most this many days."""
YOUNG_US: Final = 7 * DAY_US
"""Age up to which a hot fact applies to an account. An older one may use a library, and its own events say more."""
MOST_AGES: Final = 16
"""Facts of newcomers that a gate holds, beside those: however many devices are hot, they push out none of these."""

NEWBORN_US: Final = DAY_US
"""Age up to which the risk of an account that was just created applies."""


class HotKind(StrEnum):
    """The kind of feature that accounts share."""

    DEVICE = "device"
    NETWORK = "network"
    NEWCOMER = "newcomer"


def newcomer_name(seconds: int) -> str:
    """The `hash` of the fact of accounts that upload for the first time within so many seconds of their creation."""
    return f"{seconds:016x}"


class SharedFeature(msgspec.Struct, frozen=True, gc=False):
    """A device or a network, by its pseudonym. `accounts` accounts share it; `established` of them are old and clean.

    Of newcomers `hash` is a `newcomer_name`; both numbers are 0.

    `risk` in [0, 1] is the risk of a new account there without any other evidence, `later_risk` that of an account that
    is a day old; None, as an earlier worker sends it, means the same risk. The fact expires at the start of the day
    `expires_day`, counted from 1970. `salt_mark` identifies the worker's salt; it is empty in facts of an earlier worker.
    """

    kind: HotKind
    hash: str
    accounts: int
    established: int
    risk: float
    expires_day: int
    later_risk: float | None = None
    salt_mark: str = ""

    def risk_of(self, is_newborn: bool) -> float:
        """The risk that applies to an account."""
        return self.risk if is_newborn or self.later_risk is None else self.later_risk


class MetFact(msgspec.Struct, frozen=True, gc=False):
    """The hot fact that applies to an upload: its risk, and `name`, by which staff find it.

    It applies to an account without a score, and if it `is_for_scored` also to one with a score.
    """

    risk: float
    name: str
    is_for_scored: bool


class HotFactTable:
    """The hot facts that a gate knows. Used by one thread.

    Of devices and networks these are at most `most`, those of the highest risk, and of newcomers at most `MOST_AGES`.
    `devices` and `networks` hold them by pseudonym, `newcomers` by name. Callers may read these, for example to test that
    they are empty.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._by_kind: dict[HotKind, dict[str, SharedFeature]] = {kind: {} for kind in HotKind}
        self.devices = self._by_kind[HotKind.DEVICE]
        self.networks = self._by_kind[HotKind.NETWORK]
        self.newcomers = self._by_kind[HotKind.NEWCOMER]
        self.workers_salt = ""
        """The mark of the salt in the latest fact that had one; empty before there is any."""
        self._day = 0
        self._by_worth: list[_Worth] = []
        """A heap with the worth of each held fact, empty until one must be dropped. Some entries are of facts that left."""

    def __len__(self) -> int:
        return sum(map(len, self._by_kind.values()))

    def put(self, fact: SharedFeature, now_us: int) -> None:
        """Keep `fact`, which replaces an earlier fact of the same feature. A full table drops the lowest risk."""
        self._age(now_us)
        if not self._day < fact.expires_day <= self._day + LONGEST_DAYS:
            self.drop(fact.kind, fact.hash)
            return
        held = self._by_kind[fact.kind]
        if held is self.newcomers:
            if fact.hash in held or len(held) < MOST_AGES:
                held[fact.hash] = fact
            return
        worth = _worth(fact)
        if fact.hash not in held and len(self.devices) + len(self.networks) >= self._most:
            lowest = self._lowest()
            if lowest >= worth:
                return
            self.drop(HotKind(lowest[3]), lowest[2])
        held[fact.hash] = fact
        if len(self._by_worth) >= 2 * self._most:
            self._by_worth.clear()
        elif self._by_worth:
            heappush(self._by_worth, worth)

    def drop(self, kind: HotKind, hash_: str) -> None:
        """Remove a feature that is no longer hot."""
        self._by_kind[kind].pop(hash_, None)

    def met(self, device: str | None, network: str | None, created_at: datetime | None, now_us: int) -> MetFact | None:
        """The hot fact of the highest risk that applies to an upload from these pseudonyms.

        Where neither is hot, a fact of newcomers may apply to an account without a score, by its age. None if no fact
        applies, or if the account is older than `YOUNG_US` by `created_at`. An account of unknown age counts as newborn on a
        hot device or network; to it such a fact applies only while the account has no score.
        """
        fact = _in_force(self.devices.get(device) if device is not None else None, now_us)
        other = _in_force(self.networks.get(network) if network is not None else None, now_us)
        if fact is None and other is None:
            return self._newcomer(created_at, now_us) if self.newcomers and created_at is not None else None
        age_us = 0 if created_at is None else _age_us(created_at, now_us)
        if age_us > YOUNG_US:
            return None
        is_newborn = age_us <= NEWBORN_US
        if fact is None or (other is not None and other.risk_of(is_newborn) > fact.risk_of(is_newborn)):
            fact = other
        if fact is None:
            return None
        return MetFact(fact.risk_of(is_newborn), f"{fact.kind}:{fact.hash}", created_at is not None)

    def _newcomer(self, created_at: datetime, now_us: int) -> MetFact | None:
        """The fact of accounts of this age: that with the least bound above it."""
        age_us = _age_us(created_at, now_us)
        if not -MAX_AHEAD_US <= age_us < NEWBORN_US:
            return None
        above = [name for name in self.newcomers if age_us < int(name, 16) * 1_000_000]
        fact = _in_force(self.newcomers[min(above)] if above else None, now_us)
        if fact is None:
            return None
        return MetFact(fact.risk, f"{fact.kind}:{fact.hash}", False)

    def _lowest(self) -> _Worth:
        """The worth of the fact to drop first. A search through all facts for each new one would delay the checks."""
        heap, by_kind = self._by_worth, self._by_kind
        while heap:
            lowest = heap[0]
            held = by_kind[HotKind(lowest[3])].get(lowest[2])
            if held is not None and _worth(held) == lowest:
                return lowest
            heappop(heap)
        heap += [_worth(fact) for table in (self.devices, self.networks) for fact in table.values()]
        heapify(heap)
        return heap[0]

    def _age(self, now_us: int) -> None:
        """Drop expired facts, once a day."""
        day = now_us // DAY_US
        if day == self._day:
            return
        self._day = day
        for table in self._by_kind.values():
            for fact in [fact for fact in table.values() if fact.expires_day <= day]:
                del table[fact.hash]


def _in_force(fact: SharedFeature | None, now_us: int) -> SharedFeature | None:
    return fact if fact is not None and now_us < fact.expires_day * DAY_US else None


def _age_us(created_at: datetime, now_us: int) -> int:
    return now_us - int(created_at.timestamp() * 1_000_000)


_Worth = tuple[float, int, str, str]


def _worth(fact: SharedFeature) -> _Worth:
    return fact.risk, fact.accounts, fact.hash, fact.kind.value
