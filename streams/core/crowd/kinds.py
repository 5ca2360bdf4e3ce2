"""The kinds of features that are counted, how long a member counts, and how much memory each kind may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gate.core.duration import DAY_US

IP, DEVICE, CONTENT, HOST = 1, 2, 3, 4
PICTURE_CAMPAIGN, LINK_CAMPAIGN, TEXT_CAMPAIGN, NAME_CAMPAIGN = 5, 6, 7, 8
"""A kind is one hex digit of a feature's name, so a further one is at most 15."""
CEILING = 64
"""Accounts that one partition counts of one feature; beyond it, the 64 that showed it last are kept."""
FLOOR = 3
"""Counts of one partition up to here are not published, unless its kind has another floor."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of feature is counted.

    `days` is the window: an account counts on the day on which it last showed the feature and on the `days` - 1 days
    after it. `shared_bytes` bounds the features with two accounts or more, `heard_bytes` the counts of other workers,
    and `lone_slots` (a power of two, 16 bytes each) the features that one account showed. Counts of one partition up
    to `floor` are not published.
    """

    days: int = 7
    shared_bytes: int = 32 << 20
    heard_bytes: int = 32 << 20
    lone_slots: int = 1 << 21
    floor: int = FLOOR


_CAMPAIGN = Kind(days=3, shared_bytes=16 << 20, heard_bytes=8 << 20, lone_slots=1 << 19)

KINDS: Mapping[int, Kind] = MappingProxyType(
    {
        IP: Kind(),
        # few people share a device, and farms come back to theirs: so a pair is published, and remembered for a month
        DEVICE: Kind(days=30, floor=1),
        CONTENT: Kind(days=4),
        HOST: Kind(days=4, shared_bytes=16 << 20, heard_bytes=16 << 20, lone_slots=1 << 18),
        **dict.fromkeys((PICTURE_CAMPAIGN, LINK_CAMPAIGN, TEXT_CAMPAIGN), _CAMPAIGN),
        # new sites are few, each has eight runs, and a brand is imitated for weeks; three of one brand are published
        NAME_CAMPAIGN: Kind(days=14, shared_bytes=16 << 20, heard_bytes=16 << 20, lone_slots=1 << 20, floor=2),
    }
)
"""The kinds that the streams count. A further kind is one more entry."""
WINDOW_US = max(kind.days for kind in KINDS.values()) * DAY_US
"""A count that was published longer ago than this holds no account that still counts."""
