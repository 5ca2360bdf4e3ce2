"""Fields: whether the fields of an account's events break the table of field rules."""

from __future__ import annotations

from streams.core.features import Features


def read(of: Features) -> tuple[float]:
    """`fields.malformed`: fields that broke their rule for each attempt; 1 for one an attempt or more."""
    return (min(1.0, of.malformed / (of.uploads + of.refused + 2)),)
