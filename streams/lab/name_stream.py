"""Judges links in the order of time by the names that were new before them, with the code that a worker runs.

Each row is the upload of an account of its own. A row without a time is placed among those that have one: evenly over
their whole span, in an order that a checksum of its site gives. So honest rows are new sites at a steady rate, which is
what the campaigns of names are told from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streams.core.campaigns.names_alike import NamesAlike
from streams.core.crowd import Crowd
from streams.core.crowd.kinds import NAME_CAMPAIGN
from streams.core.models.name_model import NameModel
from streams.core.weblinks import WebLinks
from streams.lab.link_rows import LinkRow

_PLACES: Final = 1 << 31


def placed(rows: Sequence[LinkRow]) -> list[float] | None:
    """The time of each row in seconds; None if no two rows have different ones."""
    times = [row.at_s for row in rows if row.at_s is not None]
    if not times or min(times) == max(times):
        return None
    first, span = min(times), max(times) - min(times)
    return [first + span * (crc32(row.site.encode()) >> 1) / _PLACES if row.at_s is None else row.at_s for row in rows]


def name_odds(rows: Sequence[LinkRow], times: Sequence[float], model: NameModel, web: WebLinks) -> NDArray[np.float64]:
    """What campaigns of names add to the log odds of each row at its time."""
    crowd = Crowd()
    names = NamesAlike(crowd, model, web)
    odds = np.zeros(len(rows))
    for account, place in enumerate(sorted(range(len(rows)), key=lambda place: (times[place], place)), start=1):
        host = rows[place].host
        brought = names.show(host, account, is_new=True) if host else None
        if brought is not None:
            at_us = int(times[place] * 1_000_000)
            for number in (*brought.runs, *brought.sample):
                crowd.note(0, NAME_CAMPAIGN, number, account, at_us)
        odds[place] = max((names.odds(number) for _, number in names.look()), default=0.0)
    return odds
