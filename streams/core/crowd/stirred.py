"""Tracks which features' counts may have changed since a reader last looked. Each reader of the crowd has its own."""

from __future__ import annotations

MAX_STIRRED = 100_000
"""Features that are kept for a reader, 100 bytes each; beyond it, all of the crowd count as changed."""

Feature = tuple[int, int]
"""Kind and value."""


class Stirred:
    """A reader's features. `is_all` says that every feature of the crowd may have changed. Used by one thread."""

    def __init__(self, is_all: bool) -> None:
        self.features: set[Feature] = set()
        self.is_all = is_all

    def add(self, feature: Feature) -> None:
        """The feature's count may have changed."""
        if self.is_all:
            return
        self.features.add(feature)
        if len(self.features) > MAX_STIRRED:
            self.is_all = True
            self.features.clear()

    def take(self) -> tuple[set[Feature], bool]:
        """The features since the last call, and whether all of the crowd belong to them."""
        taken, self.features = self.features, set()
        is_all, self.is_all = self.is_all, False
        return taken, is_all
