"""Accounts whose facts are written down, for features that are computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.vector import PLACE, features
from streams.core.window import counter_of

NOW_US = 20_780 * DAY_US + 5 * HOUR_US
NAN = float("nan")
OLD = {"created_us": NOW_US - 400 * DAY_US}
DAY_OLD = {"created_us": NOW_US - DAY_US}


def read(around: Surroundings | None = None, **facts: Any) -> dict[str, float]:
    """All features of an account of one upload, unless the facts say otherwise."""
    usual = {"uploads": 1, "latest_us": NOW_US, "first_us": NOW_US, "last_us": NOW_US}
    vector = features(Facts(**usual | facts), around or Surroundings())
    return {name: vector[place] for name, place in PLACE.items()}


def check(around: Surroundings | None, facts: dict[str, Any], **expected: float) -> None:
    found = read(around, **facts)

    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True, rel=2e-3)


def lately(minute: float = 0, hour: float = 0, day: float = 0) -> dict[str, Any]:
    counts = ((minute, MINUTE_US), (hour, HOUR_US), (day, DAY_US))
    return dict(zip(("minute", "hour", "day"), (counter_of(n, NOW_US, half) for n, half in counts), strict=True))


def beats(*gaps_s: float) -> list[int]:
    return [NOW_US // 1_000, 0] + [part for gap in gaps_s for part in (round(gap * 1_000), 0)]


def place(days_ago: int, number: int) -> bytes:
    return (NOW_US // DAY_US - days_ago).to_bytes(2, "big") + number.to_bytes(8, "big")


def reported(*weeks_ago: float) -> bytes:
    minutes = NOW_US // MINUTE_US
    return b"".join(
        (minutes - round(ago * 10_080)).to_bytes(4, "big") + number.to_bytes(4, "big")
        for number, ago in enumerate(weeks_ago)
    )
