"""The networks and the devices that an account came from lately."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gate.core.duration import DAY_US

RECENT_DAYS = 3
"""How long a network or a device counts as one of the account's, since the account last came from it."""
PLACE_BYTES: Final = 10
_PLACE = np.dtype([("day", ">u2"), ("place", ">u8")])
_one_place = Struct(">HQ").unpack
_places = Struct(">HQ").iter_unpack


def recent(places: bytes, now_us: int) -> list[int]:
    """The networks or the devices that the account came from in the last days, as keyed hashes, the latest first."""
    since = now_us // DAY_US - RECENT_DAYS
    if len(places) == PLACE_BYTES:  # most accounts come from one place
        day, place = _one_place(places)
        return [place] if day >= since else []
    return [place for day, place in _places(places) if day >= since]


def recent_of(packed: Sequence[bytes], now_us: Sequence[int]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The networks or the devices of many accounts, and which account each is of, by its place among them."""
    counts = np.frombuffer(array("q", map(len, packed)), np.int64) // PLACE_BYTES
    places = np.frombuffer(b"".join(packed), _PLACE)
    owners = np.repeat(np.arange(len(packed)), counts)
    since = np.frombuffer(array("q", now_us), np.int64) // DAY_US - RECENT_DAYS
    late = places["day"] >= since[owners]
    return places["place"][late].astype(np.uint64), owners[late]
