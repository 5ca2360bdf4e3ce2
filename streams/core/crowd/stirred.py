"""Tracks which features' counts may have changed since a reader last looked. Each reader of the crowd has its own.

A reader takes them in turns of bounded length, since after a start or a change of hands it may be all features of the crowd:
1.4 million of them would hold up the worker's event loop for ten seconds. What a turn leaves waits for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final

MEMBERS_FOR_ONE: Final = 8
"""Members of a feature that cost a reader as much as a feature, if it looks at each."""
MAX_STIRRED = 100_000
"""Features that are kept for a reader, 100 bytes each; beyond it, all of the crowd count as changed."""
TURN: Final = 10_000
"""What a turn may cost, at most some 50 ms. A feature that was touched just now costs 1; a reader adds what else it does."""
WALKED: Final = 3
"""What a feature costs besides if all of the crowd count as changed: it is in no cache of the processor."""
LEAST_WALKED: Final = TURN // 16
"""What a turn may cost besides if all of the crowd count as changed, however many features change meanwhile."""

Feature = tuple[int, int]
"""Kind and value."""


class Stirred:
    """A reader's features, of the `kinds` that it reads. Used by one thread.

    `values_of` gives the values of a kind that several accounts share or that were heard of. With `is_all` every feature
    counts as changed at first.
    """

    def __init__(self, kinds: Collection[int], values_of: Callable[[int], list[int]], is_all: bool) -> None:
        self._kinds = tuple(kinds)
        self._values_of = values_of
        self._fresh: dict[Feature, None] = {}
        self._kinds_to_walk: list[int] = []
        self._kind = 0
        self._values_to_walk: list[int] = []
        self._walks_again = is_all
        self.left = 0
        """What is left of the turn."""

    @property
    def has_more(self) -> bool:
        """Whether features wait for a turn."""
        return bool(self._fresh) or self.is_walking

    @property
    def is_walking(self) -> bool:
        """Whether every feature of the crowd may have changed, and not all of them were taken yet."""
        return bool(self._values_to_walk or self._kinds_to_walk or self._walks_again)

    def add(self, feature: Feature) -> None:
        """The feature's count may have changed."""
        self._fresh[feature] = None
        if len(self._fresh) > MAX_STIRRED:
            self._walks_again = True
            self._fresh.clear()

    def turn(self) -> Iterator[Feature]:
        """Yields the features that wait, those that changed longest ago first, until a turn's cost is reached."""
        self.left = TURN
        while self._fresh and self.left > 0:
            taken, self._fresh = self._fresh, {}
            yield from self._until_spent(taken)
        if self.is_walking:
            self.left = max(self.left, LEAST_WALKED)
            yield from self._walk()

    def cost(self, units: int) -> None:
        """The feature that was yielded last cost so much more."""
        self.left -= units

    def _until_spent(self, taken: dict[Feature, None]) -> Iterator[Feature]:
        features = iter(taken)
        for feature in features:
            yield feature
            self.left -= 1
            if self.left <= 0:
                break
        if left := dict.fromkeys(features):
            self._fresh = {**left, **self._fresh}

    def _walk(self) -> Iterator[Feature]:
        while self.left > 0 and self.is_walking:
            if self._values_to_walk:
                yield self._kind, self._values_to_walk.pop()
                self.left -= 1 + WALKED
            elif self._kinds_to_walk:
                self._kind = self._kinds_to_walk.pop()
                self._values_to_walk = self._values_of(self._kind)
            else:  # what changed since the walk began and was not kept is met once more
                self._walks_again = False
                self._kinds_to_walk = list(self._kinds)
