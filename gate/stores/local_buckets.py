"""A gate's own token buckets for outages of the account store: each limit divided by the number of gates.

`on_store_error` in the policy chooses the limits that use them. An upload that is checked twice takes tokens twice
here: refusing a few uploads too many is the safe side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from gate.core.limits.gcra import GRACE_US, Refusal, take
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit

MAX_BUCKETS = 100_000
SHARED = ("platform", "class:")
"""How the entities are named from which uploads of all accounts take."""
LEAST_LOOKED_AT = 16
NOTHING_REFUSED: tuple[Refusal | None, tuple[str, ...]] = (None, ())


MAX_LIMITS = 1_024
"""Limits of entities that are kept worked out; a policy has a few dozen."""

_Row = tuple[str, int, int, int]
"""A limit's name, the cost of one upload, how much later than now the TAT may be for an upload to fit, both in µs, and how
much later than that the TAT may be for an upload to be refused here, in µs: where it is yet later, or the limit never
refuses, the model knows what follows."""
_Rows = tuple[Sequence[Limit] | None, Sequence[_Row] | None]
"""The limits of the rows if some of them count bytes, and the rows for an upload of no bytes; None where the model must say
from which an upload takes."""


class LocalBuckets:
    """Buckets in memory, at most `max_buckets`. `instances` is how many gates share each limit, at least 1."""

    def __init__(self, instances: int, max_buckets: int = MAX_BUCKETS) -> None:
        self._instances = max(1, instances)
        self._max_buckets = max_buckets
        self._tats: dict[str, dict[str, int]] = {}
        """The TATs of each entity by the names of its limits."""
        self._count = 0
        self._rows: dict[EntityLimits, _Rows] = {}

    def __len__(self) -> int:
        return self._count

    def take(self, buckets: Sequence[EntityBuckets], size: int, now_us: int) -> tuple[Refusal | None, tuple[str, ...]]:
        """Take from all buckets or from none, like `gate.core.limits.gcra.take`, by this gate's share of each limit."""
        before: list[int] = []
        more = longest_us = 0
        refusing = ""
        for each in buckets:
            by_size, rows = self._rows.get(each.limits) or self._rows_of(each.limits)
            if rows is None:
                self._restore(buckets, before)
                return self._take_by_the_model(buckets, size, now_us)
            if by_size is not None:
                rows = [self._row(limit, size) for limit in by_size]
            tats = self._tats.get(each.entity)
            if tats is None:
                if not rows:
                    continue
                tats = self._tats[each.entity] = {}  # it does not stay empty
            for name, cost_us, most_us, believed_us in rows:
                tat_us = tats.get(name, -1)
                before.append(tat_us)
                wait_us = tat_us - now_us
                if wait_us <= 0:
                    more += tat_us == -1
                    wait_us, tat_us = 0, now_us
                if wait_us > most_us:
                    wait_us -= most_us
                    if wait_us > believed_us:  # this is rare, and the model several times slower
                        self._restore(buckets, before)
                        return self._take_by_the_model(buckets, size, now_us)
                    if wait_us > longest_us:
                        longest_us, refusing = wait_us, name
                    continue
                tats[name] = tat_us + cost_us
        if longest_us:
            self._restore(buckets, before)
            return Refusal(refusing, longest_us), ()
        self._count += more
        if self._count > self._max_buckets:
            self._forget()
        return NOTHING_REFUSED

    def _restore(self, buckets: Sequence[EntityBuckets], before: Iterable[int]) -> None:
        """Set the TATs of the limits that were looked at, in the order of the buckets, back to those of `before`."""
        left = iter(before)
        for each in buckets:
            _, rows = self._rows.get(each.limits) or self._rows_of(each.limits)
            tats = self._tats.get(each.entity, {})
            for (name, *_), tat_us in zip(rows or (), left):  # noqa: B905  (the last ones may not have been looked at)
                if tat_us == -1:
                    tats.pop(name, None)
                else:
                    tats[name] = tat_us
            if not tats:
                self._tats.pop(each.entity, None)

    def _take_by_the_model(
        self, buckets: Sequence[EntityBuckets], size: int, now_us: int
    ) -> tuple[Refusal | None, tuple[str, ...]]:
        """Let the model take."""
        entities = dict.fromkeys(each.entity for each in buckets)
        tats = {(entity, name): tat for entity in entities for name, tat in self._tats.get(entity, {}).items()}
        answer = take(tats, tuple(buckets), size, now_us, sharers=self._instances)
        self._count -= sum(len(self._tats.pop(entity, ())) for entity in entities)
        for (entity, name), tat_us in tats.items():
            self._tats.setdefault(entity, {})[name] = tat_us
        self._count += len(tats)
        if self._count > self._max_buckets:
            self._forget()
        return answer

    def _rows_of(self, limits: EntityLimits) -> _Rows:
        if len(self._rows) >= MAX_LIMITS:
            self._rows.clear()
        names = {limit.name for limit in limits.limits}
        if len(names) < len(limits.limits) or any(limit.reserve_of for limit in limits.limits):
            self._rows[limits] = None, None
            return self._rows[limits]
        # nothing is in flight here, so such a limit always has room, unless it never has
        looked_at = [limit for limit in limits.limits if not (limit.in_flight and limit.rate.burst)]
        by_size = looked_at if any(limit.by_bytes for limit in looked_at) else None
        self._rows[limits] = by_size, [self._row(limit, 0) for limit in looked_at]
        return self._rows[limits]

    def _row(self, limit: Limit, size: int) -> _Row:
        cost_us, tolerance_us = self._share(limit, size)
        refuses = not limit.shadow and cost_us <= tolerance_us
        return limit.name, cost_us, tolerance_us - cost_us, cost_us + GRACE_US if refuses else -1

    def _share(self, limit: Limit, size: int) -> tuple[int, int]:
        """The cost of an upload in this gate's share of the limit, and the tolerance, in µs; see `gcra.take_reserved`."""
        whole_us, tolerance_us = limit.cost_us(size), limit.tolerance_us
        cost_us = whole_us * self._instances
        return cost_us, max(tolerance_us, cost_us) if whole_us <= tolerance_us else tolerance_us

    def _forget(self) -> None:
        """Drop entities until a hundredth is free: of some that were added first, those whose buckets would be full first.

        An entity that all uploads share is never dropped: a dropped entity begins with full buckets, which somebody with many
        accounts could otherwise bring about. The others of those looked at go behind the rest."""
        least = self._max_buckets * 99 // 100
        while self._count > least:
            looked_at = list(islice(self._tats, max(LEAST_LOOKED_AT, len(self._tats) // 50)))
            own = [entity for entity in looked_at if not entity.startswith(SHARED)]
            if not own and len(looked_at) == len(self._tats):
                return
            own.sort(key=lambda entity: max(self._tats[entity].values()))
            for entity in own[: len(own) // 2 + 1]:
                self._count -= len(self._tats.pop(entity))
            for entity in looked_at:
                if (tats := self._tats.pop(entity, None)) is not None:
                    self._tats[entity] = tats
