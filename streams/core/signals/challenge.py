"""Challenge: whether the account lately passed a challenge or failed one."""

from __future__ import annotations

from streams.core.features import Features

SURE_FAILURES = 3.0
"""Failed challenges that say as much as any number."""


def read(of: Features) -> tuple[float, float]:
    """`challenge.passed`: 1 after one that was passed, halving with each week. `challenge.failed` reaches 1 at three."""
    return min(1.0, of.passed), min(1.0, of.failed / SURE_FAILURES)
