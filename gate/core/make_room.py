"""Bounds a dict that keeps what was put into it last."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from typing import Any


def make_room(kept: dict[Any, Any], key: Hashable, most: int) -> None:
    """Before `key` is put into a dict that lacks it and holds `most` entries, delete those that were put in first, a 64th of
    them at once.

    Deleting a single one would take longer the larger the dict is, up to 20 µs: to find the first entry, Python passes over
    the places of all that were deleted before it.
    """
    if len(kept) >= most and key not in kept:
        for first in [*islice(kept, max(1, most >> 6))]:
            del kept[first]
