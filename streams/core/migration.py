"""Converts states of earlier layouts to the fields of the one in force, so that no account loses its history.

The third layout kept marks of four bytes in the rings of contents, templates and hosts, of which the first three stay,
and counted captions of every layout, also where there were none; its first states did not say whether an account was
ever blamed. The second layout differs in more.

Decaying counters keep their values. The second layout kept a running mean and variance of gaps; they become as many
gaps with the same mean and variance. Unnamed reports become separate reporters with the same weight. Hashes of networks
and devices were made in another way; they are kept, and match the published counts until these expire.
"""

from __future__ import annotations

from math import exp, log2, sqrt
from typing import Any

import msgspec

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from streams.core.beats import KEPT
from streams.core.rings import dated
from streams.core.window import counter_of

SECOND, THIRD = b"\x02", b"\x03"
"""The first bytes of states of the second and of the third layout."""
RING_MARK_BYTES = 3
"""Bytes of a mark in the rings of contents, templates and hosts."""
_LONG_MARK_BYTES = 4
WEEK_US = 7 * DAY_US
MAX_REPORTERS = 16
_LONGEST_GAP_MS = 400 * 86_400_000


class _Former(msgspec.Struct, array_like=True):
    events: int
    offset: int
    digest: int
    created_us: int
    first_us: int
    last_us: int
    uploads: int
    minute: float
    hour: float
    day: float
    gaps: int
    gap_mean: float
    gap_variance: float
    contents: bytes
    templates: bytes
    hosts: bytes
    content_repeats: int
    template_repeats: int
    host_repeats: int
    texts: int
    layouts: list[int]
    layout_squares: int
    mentions: int
    spam: float
    linked: int
    suspicion: float
    ip: int
    device: int
    content: int
    host: int
    completed: int
    reports: float
    removals: float
    blamed_us: int
    refused: int


_decode = msgspec.msgpack.Decoder(_Former).decode


def shortened(ring: bytes) -> bytes:
    """A ring of the second or third layout with the marks of the one in force."""
    return b"".join([ring[at : at + RING_MARK_BYTES] for at in range(0, len(ring), _LONG_MARK_BYTES)])


def trimmed(layouts: list[int]) -> list[int]:
    """Counts by layout, up to the last one that is not 0."""
    used = len(layouts)
    while used and not layouts[used - 1]:
        used -= 1
    return layouts[:used]


def migrated(body: bytes) -> dict[str, Any]:
    """The fields of `Facts` by name. Raises msgspec.DecodeError if `body` is not of the second layout."""
    was = _decode(body)
    named = set(_Former.__struct_fields__) - {
        "minute", "hour", "day", "gaps", "gap_mean", "gap_variance", "ip", "device", "reports", "removals", "blamed_us",
    }  # fmt: skip
    latest_us = max(was.last_us, was.blamed_us)
    day = min(latest_us // DAY_US, 0xFFFF).to_bytes(2, "big")
    return {
        **{name: getattr(was, name) for name in named},
        "created_us": was.created_us if 0 < was.created_us <= (latest_us or was.created_us) else 0,
        "latest_us": latest_us,
        "contents": shortened(was.contents),
        "templates": shortened(was.templates),
        "hosts": shortened(was.hosts),
        "layouts": trimmed(was.layouts),
        "minute": counter_of(was.minute, was.last_us, MINUTE_US),
        "hour": counter_of(was.hour, was.last_us, HOUR_US),
        "day": counter_of(was.day, was.last_us, DAY_US),
        "beats": _beats(was),
        "networks": day + was.ip.to_bytes(8, "big") if was.ip else b"",
        "devices": day + was.device.to_bytes(8, "big") if was.device else b"",
        "reporters": _reporters(was),
        "removals": counter_of(was.removals, was.blamed_us, WEEK_US),
        "blamed": int(was.blamed_us > 0),
    }


def _beats(was: _Former) -> list[int]:
    if not was.uploads:
        return []
    count = min(was.gaps, KEPT - 1)
    deviation = sqrt(max(0.0, was.gap_variance))
    if count % 2 and count > 1:  # the middle one is at the mean, so the others deviate more
        deviation *= sqrt(count / (count - 1))
    beats = [max(0, was.last_us) // 1_000, 0]
    for number in range(count):
        middle = count % 2 and number == count - 1
        log_gap = was.gap_mean + (0.0 if middle else deviation if number % 2 else -deviation)
        beats += (max(100, min(_LONGEST_GAP_MS, round(exp(min(log_gap, 20.0)) * 1_000))), 0)
    return beats


def _reporters(was: _Former) -> bytes:
    """One reporter for each whole report, and one with an earlier time for the rest."""
    kept = b""
    whole = min(int(was.reports), MAX_REPORTERS)
    rest = was.reports - int(was.reports)
    for number in range(whole + 1):
        at_us = was.blamed_us
        if number == whole:
            if rest < 0.01:
                break
            at_us += round(WEEK_US * log2(rest))
        minutes = min(max(0, at_us) // MINUTE_US, 0xFFFF_FFFF).to_bytes(4, "big")
        kept = dated(kept, minutes + number.to_bytes(4, "big"), len(minutes), MAX_REPORTERS)
    return kept
