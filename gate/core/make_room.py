"""Bounds a dict that keeps what was put into it last."""

from __future__ import annotations

from itertools import islice
from typing import Any


def make_room(kept: dict[Any, Any], most: int) -> None:
    """Of a dict that holds `most` entries, delete those that were put in first, a 64th of them at once.

    Deleting a single one would take longer the larger the dict is, up to 20 µs: to find the first entry, Python passes over
    the places of all that were deleted before it.
    """
    if len(kept) >= most:
        for key in [*islice(kept, max(1, most >> 6))]:
            del kept[key]
