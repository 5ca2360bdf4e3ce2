"""Reports: how many others reported the account and how many uploads staff removed, lately and per upload."""

from __future__ import annotations

from streams.core.features import Features

NEGLIGIBLE = 0.01


def read(of: Features) -> tuple[float]:
    """`reports.rate`: distinct reporters and, twice as heavy, removals, against the number of uploads; halves with each week."""
    blame = of.reporters + 2.0 * of.removals
    return (min(1.0, blame / (of.uploads + 3.0)) if blame > NEGLIGIBLE else 0.0,)
