"""Who else: how many distinct accounts share an address, a device, a content or a link host.

An account lives in one partition, so distinct counts add up over partitions: each partition counts its own, publishes
those above a floor, and every worker sums what it hears. Counts are approximate by contract: the sum is short by at most
floor × partitions and a quarter of what others counted; a set is not counted beyond a ceiling; what is not touched for
one to two windows of event time, or is crowded out, is forgotten. A batch that is tried again counts nobody twice, for
sets are idempotent; what it would have published is published with the next step instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gate.core.duration import DAY_US

FLOOR = 3
CEILING = 64
STEPS = frozenset((4, 5, 6, 8, 10, 13, 16, 20, 25, 32, 40, 50, CEILING))
"""A partition's counts that are published: a quarter more each time, so a farm costs a dozen records."""
WINDOW_US = 4 * DAY_US
MAX_FEATURES = 400_000
"""Features remembered in one window, and as many memberships of sets; a fuller window turns over early."""
MAX_HEARD = 500_000
"""Features heard of in one window."""
IP, DEVICE, CONTENT, HOST = 1, 2, 3, 4
KINDS = 5

Sets = dict[int, set[int]]
"""By partition: the accounts, as 32-bit hashes, that showed a feature."""
Seen = dict[int, int | Sets]
"""By feature: all who showed it; a lone account is kept as a number, its hash below its partition."""
Heard = dict[int, dict[int, int]]
"""By feature, its kind above 64 bits of value: the last count heard of each partition."""


@dataclass(frozen=True, slots=True)
class CrowdCount:
    """`count` distinct accounts of one partition share `feature`, 17 hex digits that stand for the thing itself."""

    feature: str
    count: int


class Surroundings(msgspec.Struct, frozen=True, gc=False):
    """Distinct accounts that share the account's last address, device, content and link host; 0 where it has none."""

    ip_accounts: int = 0
    device_accounts: int = 0
    content_accounts: int = 0
    link_accounts: int = 0


class Crowd:
    """All partitions' counts as one worker knows them. Mutable, in memory, used by one thread."""

    def __init__(self, floor: int = FLOOR) -> None:
        self._floor = floor
        self._now: list[Seen] = [{} for _ in range(KINDS)]
        self._before: list[Seen] = [{} for _ in range(KINDS)]
        self._remembered = 0
        self._began_us: int | None = None
        self._heard: Heard = {}
        self._heard_before: Heard = {}
        self._changed: dict[int, set[tuple[int, int]]] = {}

    def note(self, partition: int, kind: int, value: int, account: int, at_us: int) -> None:
        """An account (32-bit hash) of `partition` showed the feature `value` (64 bits at most) of `kind` at `at_us`."""
        found = self._now[kind].get(value)
        if found is None:
            found = self._remember(partition, kind, value, account, at_us)
        if isinstance(found, int):
            if found == partition << 32 | account:
                return
            self._now[kind][value] = found = {found >> 32: {found & 0xFFFF_FFFF}}
        mine = found.get(partition)
        if mine is None:
            mine = found[partition] = set()
        if account not in mine and len(mine) < CEILING:
            mine.add(account)
            self._remembered += 1
            if len(mine) > self._floor and len(mine) in STEPS:
                self._changed.setdefault(partition, set()).add((kind, value))

    def count(self, kind: int, value: int) -> int:
        """How many distinct accounts are known to share the feature, over all partitions."""
        found = self._now[kind].get(value)
        if found is None:
            found = self._before[kind].get(value)
        heard = self._heard_of(kind << 64 | value) if self._heard or self._heard_before else None
        if heard is None:
            return 0 if found is None else 1 if isinstance(found, int) else sum(map(len, found.values()))
        # a partition counts with what was heard of it or with what was seen here, whichever is more
        known = dict(heard)
        for partition, own in _sizes(found).items():
            known[partition] = max(own, known.get(partition, 0))
        return sum(known.values())

    def around(self, ip: int, device: int, content: int, host: int) -> Surroundings:
        """The counts of an account's last features; 0 stands for none."""
        count = self.count
        return Surroundings(
            count(IP, ip) if ip else 0,
            count(DEVICE, device) if device else 0,
            count(CONTENT, content) if content else 0,
            count(HOST, host) if host else 0,
        )

    def hear(self, partition: int, feature: str, count: int) -> None:
        """Another worker, or this one before it started again, counted so many. What is no feature is passed over."""
        try:
            name = int(feature[:18], 16)
        except ValueError:
            return
        counts = self._heard.get(name)
        if counts is None:
            if len(self._heard) >= MAX_HEARD:
                del self._heard[next(iter(self._heard))]
            counts = self._heard[name] = self._heard_before.pop(name, {})
        counts[partition] = count

    def take_changed(self, partition: int) -> list[CrowdCount]:
        """The partition's counts above the floor that grew by a step since they were last taken."""
        changed = self._changed.pop(partition, None)
        if not changed:
            return []
        counts = (
            (kind, value, _sizes(self._now[kind].get(value)).get(partition, 0)) for kind, value in sorted(changed)
        )
        return [CrowdCount(f"{kind:x}{value:016x}", count) for kind, value, count in counts if count > self._floor]

    def _heard_of(self, feature: int) -> dict[int, int] | None:
        return self._heard.get(feature) or self._heard_before.get(feature)

    def _remember(self, partition: int, kind: int, value: int, account: int, at_us: int) -> int | Sets:
        """What is known of a feature that the current window has not seen; the lone account where nothing is."""
        if self._began_us is None:
            self._began_us = at_us
        if at_us - self._began_us > WINDOW_US or self._remembered >= MAX_FEATURES:
            self._began_us = max(at_us, self._began_us)
            self._before, self._now = self._now, [{} for _ in range(KINDS)]
            self._remembered = 0
            self._heard_before, self._heard = self._heard, {}
        self._remembered += 1
        found = self._now[kind][value] = self._before[kind].pop(value, partition << 32 | account)
        if not isinstance(found, int):
            self._remembered += sum(map(len, found.values()))
            if len(found.get(partition, ())) > self._floor:  # told again, so that nobody who only hears of it forgets
                self._changed.setdefault(partition, set()).add((kind, value))
        return found


def _sizes(found: int | Sets | None) -> dict[int, int]:
    """Accounts by partition."""
    if found is None:
        return {}
    if isinstance(found, int):
        return {found >> 32: 1}
    return {partition: len(accounts) for partition, accounts in found.items()}
