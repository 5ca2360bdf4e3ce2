"""Spans of time as people write them: `90s`, `10m`, `4h`, `1h30m`, `2d`. Pure text to µs and back."""

from __future__ import annotations

import re

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

UNIT_US = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_LONGEST_US = 366 * 86_400_000_000
_LONGEST_TEXT = 40


def parse_duration_us(text: str, most: str = "366d") -> int:
    """The µs of a span such as `10m` or `1h30m`. Each unit occurs at most once, larger units first.

    Raises ValueError if `text` is not a span, or not more than 0 and at most 366 days. Its message is for the user, and
    names `most` where the caller permits less.
    """
    wanted = text.strip().lower()
    at, total, last = 0, 0, _LONGEST_US
    for part in _PART.finditer(wanted if len(wanted) <= _LONGEST_TEXT else ""):
        unit = UNIT_US[part[2]]
        if part.start() != at or unit >= last:
            break
        total += round(float(part[1]) * unit)
        at, last = part.end(), unit
    if not wanted or at != len(wanted):
        raise ValueError(f"{text[:_LONGEST_TEXT]!r} is not a span of time: write 90s, 10m, 4h or 1h30m")
    if not 0 < total <= _LONGEST_US:
        raise ValueError(f"{text[:_LONGEST_TEXT]!r} is out of range: more than 0, at most {most}")
    return total


def duration_text(us: int) -> str:
    """A span of `us` µs in its two largest units (`1h 30m`, `42s`), for people. A span below one second is `0s`."""
    left = max(us, 0)
    parts: list[str] = []
    for name in ("d", "h", "m", "s"):
        count, left = divmod(left, UNIT_US[name])
        if count:
            parts.append(f"{count}{name}")
    return " ".join(parts[:2]) or "0s"


def left_text(us: int) -> str:
    """About how long `us` µs are, for people who read how far away a time is: from 10 minutes on in whole minutes.

    A pause of an hour that was set a moment ago has `1h` left, not `59m 59s`.
    """
    unit_us = MINUTE_US if us >= 10 * MINUTE_US - UNIT_US["s"] else UNIT_US["s"]
    return duration_text((us + unit_us // 2) // unit_us * unit_us)
