"""The features that most accounts share, for the gates: a new account on a farm's device gets the device's risk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from streams.core.crowd.counts import Crowd
from streams.core.crowd.kinds import CONTENT, DEVICE, HOST, IP
from streams.core.crowd.record import name, parsed_name

LEVELS: Mapping[int, int] = MappingProxyType({IP: 16, DEVICE: 2, CONTENT: 8, HOST: 16})
"""Accounts from which a feature of a kind is hot. A kind that is not named has no hot features."""
MAX_HOT = 10_000
TO_DROP = 4_000
"""What it costs a turn to find those that have no place any more."""


@dataclass(frozen=True, slots=True)
class HotFact:
    """A feature, as in `CrowdCount`, with the number of accounts that share it and of the established ones. With 0
    accounts it is no longer hot."""

    feature: str
    accounts: int
    established: int


class HotFacts:
    """The hot features of a crowd, at most `most` of them, those with most accounts. Used by one thread.

    The first turns, until every feature was looked at once, tell nothing: what has a place would be told and taken back.
    A full table takes a further feature only if more accounts share it than any that had no place. A feature without a
    place gets one when there is room again and a further account shows it.
    """

    def __init__(self, crowd: Crowd, levels: Mapping[int, int] = LEVELS, most: int = MAX_HOT) -> None:
        self._crowd = crowd
        self._levels = levels
        self._most = most
        self._hot: dict[tuple[int, int], tuple[int, int]] = {}
        self._without_place = 0, 0
        """The largest counts of a feature that had no place in the full table."""
        self._day: int | None = None
        self._stirred = crowd.watch_stirred(levels)
        self._before: dict[tuple[int, int], tuple[int, int] | None] = {}
        """What was last told of the features that have changed since."""
        self.has_walked = False
        """Whether every feature was looked at once."""

    @property
    def has_more(self) -> bool:
        """Whether features wait for a turn."""
        return self._stirred.has_more

    def all(self) -> list[HotFact]:
        """Every hot feature as it was when `changes` was last called."""
        return [HotFact(name(*known), *counts) for known, counts in self._hot.items()]

    def now(self, feature: str) -> HotFact:
        """The feature as it was when `changes` was last called."""
        known = parsed_name(feature)
        return HotFact(feature, *((0, 0) if known is None else self._hot.get(known, (0, 0))))

    def changes(self) -> list[HotFact]:
        """The features that became hot, changed, or are no longer hot since the last call, as far as one turn looked; all at
        the first call that tells any."""
        self._update(self._stirred.turn())
        if self._crowd.today != self._day:  # members have aged, also of features that no account showed
            self._day = self._crowd.today
            self._update(list(self._hot))
        self.has_walked = self.has_walked or not self._stirred.is_walking
        if not self.has_walked:
            return []
        self._drop_surplus()
        before, self._before = self._before, {}
        changed = (known for known, counts in before.items() if self._hot.get(known) != counts)
        return [HotFact(name(*known), *self._hot.get(known, (0, 0))) for known in changed]

    def _update(self, stirred: Iterable[tuple[int, int]]) -> None:
        for kind, value in stirred:
            level = self._levels[kind]
            counts = self._crowd.counts(kind, value)
            is_hot = counts[0] >= level and (counts > self._without_place or (kind, value) in self._hot)
            self._change((kind, value), counts if is_hot else None)
            if len(self._hot) > 2 * self._most:  # so that it stays small while a worker begins with a large crowd
                self._drop_surplus()

    def _drop_surplus(self) -> None:
        surplus = len(self._hot) - self._most
        if surplus < 0:
            self._without_place = 0, 0
        elif surplus > 0:
            self._stirred.cost(TO_DROP)
            lowest = sorted(self._hot, key=lambda known: (self._hot[known], known))[:surplus]
            self._without_place = self._hot[lowest[-1]]
            for known in lowest:
                self._change(known, None)

    def _change(self, known: tuple[int, int], counts: tuple[int, int] | None) -> None:
        held = self._hot.get(known)
        if held == counts:
            return
        self._before.setdefault(known, held)
        if counts is None:
            del self._hot[known]
        else:
            self._hot[known] = counts
