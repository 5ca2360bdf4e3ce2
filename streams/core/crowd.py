"""Who else: how many distinct accounts share an address, a device, a content or a link host.

An account lives in one partition, so distinct counts add up over partitions: each partition counts its own, publishes
those above a floor, and every worker sums what it hears. Counts are approximate by contract: the sum is short by at most
floor × partitions and a quarter of what others counted; a set is not counted beyond a ceiling; what was not touched for
one to two windows of event time, or is crowded out, is forgotten. A batch that is tried again counts nobody twice, for
sets are idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass

from streams.core.window import DAY_US

FLOOR = 3
CEILING = 64
STEPS = frozenset((4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, CEILING))
"""Sizes of a set at which its count is published anew: a quarter more each time, so a farm costs a dozen records."""
WINDOW_US = 4 * DAY_US
MAX_FEATURES = 400_000
"""Features remembered in one window; a fuller window turns over early."""
MAX_HEARD = 500_000
IP, DEVICE, CONTENT, HOST = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class CrowdCount:
    """`count` distinct accounts of one partition share `feature`, 17 hex digits that stand for the thing itself."""

    feature: str
    count: int


class Crowd:
    """All partitions' counts as one worker knows them. Mutable, in memory, used by one thread.

    What its own partitions showed is one table, a member of a set being an account's hash below its partition; a lone
    account is kept without a set. The table turns over: what is not touched for two windows is gone.
    """

    def __init__(self, floor: int = FLOOR) -> None:
        self._floor = floor
        self._now: dict[int, int | set[int]] = {}
        self._before: dict[int, int | set[int]] = {}
        self._began_us: int | None = None
        self._changed: dict[int, set[int]] = {}
        self._heard: dict[int, dict[int, int]] = {}

    def note(self, partition: int, kind: int, value: int, account: int, at_us: int) -> None:
        """An account (32-bit hash) of `partition` showed the feature `value` (64 bits at most) of `kind` at `at_us`."""
        feature = kind << 64 | value
        member = partition << 32 | account
        found = self._now.get(feature)
        if found is None:
            found = self._remember(feature, member, at_us)
        if isinstance(found, int):
            if found == member:
                return
            self._now[feature] = found = {found}
        if member not in found and len(found) < CEILING:
            found.add(member)
            if len(found) > self._floor and len(found) in STEPS:
                self._changed.setdefault(partition, set()).add(feature)

    def count(self, kind: int, value: int) -> int:
        """How many distinct accounts are known to share the feature, over all partitions."""
        feature = kind << 64 | value
        found = self._now.get(feature)
        if found is None:
            found = self._before.get(feature)
        own = 0 if found is None else 1 if isinstance(found, int) else len(found)
        heard = self._heard.get(feature)
        if heard is None:
            return own
        # a partition counts with what was heard of it or with what was seen here, whichever is more
        seen = _by_partition(found)
        return own + sum(max(0, count - seen.get(partition, 0)) for partition, count in heard.items())

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
        """The partition's counts above the floor that grew by a step since they were last taken."""
        changed = self._changed.pop(partition, None)
        if not changed:
            return []
        counts = ((feature, _by_partition(self._now.get(feature)).get(partition, 0)) for feature in sorted(changed))
        return [CrowdCount(f"{feature:017x}", count) for feature, count in counts if count > self._floor]

    def _remember(self, feature: int, member: int, at_us: int) -> int | set[int]:
        """What is known of a feature that the current window has not seen; the lone member where nothing is."""
        if self._began_us is None:
            self._began_us = at_us
        if at_us - self._began_us > WINDOW_US or len(self._now) >= MAX_FEATURES:
            self._before, self._now, self._began_us = self._now, {}, max(at_us, self._began_us)
        found = self._now[feature] = self._before.pop(feature, member)
        return found


def _by_partition(found: int | set[int] | None) -> dict[int, int]:
    if found is None:
        return {}
    counts: dict[int, int] = {}
    for member in (found,) if isinstance(found, int) else found:
        partition = member >> 32
        counts[partition] = counts.get(partition, 0) + 1
    return counts
