"""The networks and the devices that an account came from lately."""

from __future__ import annotations

from struct import Struct
from typing import Final

from gate.core.duration import DAY_US

RECENT_DAYS = 3
"""How long a network or a device counts as one of the account's, since the account last came from it."""
PLACE_BYTES: Final = 10
_one_place = Struct(">HQ").unpack
_places = Struct(">HQ").iter_unpack


def recent(places: bytes, now_us: int) -> list[int]:
    """The networks or the devices that the account came from in the last days, as keyed hashes, the latest first."""
    since = now_us // DAY_US - RECENT_DAYS
    if len(places) == PLACE_BYTES:  # most accounts come from one place
        day, place = _one_place(places)
        return [place] if day >= since else []
    return [place for day, place in _places(places) if day >= since]
