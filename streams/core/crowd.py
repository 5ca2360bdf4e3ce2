"""Who else: how many distinct accounts share an address, a device, a content or a link host.

An account lives in one partition, so distinct counts add up over partitions: each partition counts its own, publishes
those above a floor, and every worker sums what it hears. Counts are approximate by contract. The sum is short by at
most floor × partitions; a set is not counted beyond a ceiling; what was not touched for one to two windows of event
time, or is crowded out, is forgotten. A batch that is tried again counts nobody twice, for sets are idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass

from streams.core.window import DAY_US

FLOOR = 3
CEILING = 64
WINDOW_US = 4 * DAY_US
MAX_FEATURES = 100_000
"""Features a partition remembers in one window; the fuller half of what is forgotten is a window old at least."""
MAX_HEARD = 500_000
IP, DEVICE, CONTENT, HOST = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class CrowdCount:
    """`count` distinct accounts of one partition share `feature`, 17 hex digits that stand for the thing itself."""

    feature: str
    count: int


@dataclass(slots=True)
class _Own:
    """One partition's own sets: a window in use and the one before. A lone account is kept without a set."""

    now: dict[int, int | set[int]]
    before: dict[int, int | set[int]]
    began_us: int
    changed: set[int]


class Crowd:
    """All partitions' counts as one worker knows them. Mutable, in memory, used by one thread."""

    def __init__(self, floor: int = FLOOR) -> None:
        self._floor = floor
        self._own: dict[int, _Own] = {}
        self._heard: dict[int, dict[int, int]] = {}

    def note(self, partition: int, kind: int, value: int, account: int, at_us: int) -> None:
        """An account (its hash) of `partition` showed the feature `value` (64 bits at most) of `kind` at `at_us`."""
        own = self._own.get(partition)
        if own is None:
            own = self._own[partition] = _Own({}, {}, at_us, set())
        feature = kind << 64 | value
        found = own.now.get(feature)
        if found is None:
            self._turn(own, at_us)
            found = own.before.pop(feature, None)
            if found is None:
                own.now[feature] = account
                return
            own.now[feature] = found
        if isinstance(found, int):
            if found == account:
                return
            own.now[feature] = found = {found}
        if account not in found and len(found) < CEILING:
            found.add(account)
            if len(found) > self._floor:
                own.changed.add(feature)

    def count(self, kind: int, value: int) -> int:
        """How many distinct accounts are known to share the feature, over all partitions."""
        feature = kind << 64 | value
        heard = self._heard.get(feature)
        total = 0
        for partition, own in self._own.items():
            found = own.now.get(feature)
            if found is None:
                found = own.before.get(feature)
            mine = 0 if found is None else 1 if isinstance(found, int) else len(found)
            total += mine if heard is None else max(mine, heard.get(partition, 0))
        if heard is not None:
            total += sum(count for partition, count in heard.items() if partition not in self._own)
        return total

    def hear(self, partition: int, feature: str, count: int) -> None:
        """Another worker, or this one before it started again, counted so many. What is no feature is passed over."""
        try:
            name = int(feature, 16)
        except ValueError:
            return
        counts = self._heard.get(name)
        if counts is None:
            if len(self._heard) >= MAX_HEARD:
                del self._heard[next(iter(self._heard))]
            counts = self._heard[name] = {}
        counts[partition] = count

    def take_changed(self, partition: int) -> list[CrowdCount]:
        """The partition's counts above the floor that grew since they were last taken."""
        own = self._own.get(partition)
        if own is None or not own.changed:
            return []
        changed, own.changed = own.changed, set()
        return [
            CrowdCount(f"{feature:017x}", len(found))
            for feature in sorted(changed)
            if isinstance(found := own.now.get(feature), set)
        ]

    def _turn(self, own: _Own, at_us: int) -> None:
        if at_us - own.began_us > WINDOW_US or len(own.now) >= MAX_FEATURES:
            own.before, own.now, own.began_us = own.now, {}, max(at_us, own.began_us)
