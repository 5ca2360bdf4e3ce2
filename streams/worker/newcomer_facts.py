"""Makes the hot facts of newcomers: the risk of accounts that upload for the first time soon after their creation.

They follow from the scorecard alone. The owner of one partition publishes them, once a day of event time. A scorecard that
does not see enough risk in newcomers, or none beyond the base rate, takes back what an earlier one published.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from gate.core.hot_facts import LONGEST_DAYS, HotKind, SharedFeature, newcomer_name
from gate.records.hot_fact import encode_hot_fact, encode_hot_key
from streams.core.crowd import Crowd
from streams.core.earned_risk import LEAST_RISK, newcomer_risks
from streams.core.scorecard import Scorecard

PARTITION: Final = 0
"""The partition whose owner publishes the facts."""

Record = tuple[bytes, bytes | None]


class NewcomerRecords:
    """Makes the records. No I/O; used by one thread. `crowd` knows the day, `salt_mark` identifies the worker's salt."""

    def __init__(self, crowd: Crowd, scorecard: Scorecard, salt_mark: str = "") -> None:
        self._salt_mark = salt_mark
        self._crowd = crowd
        self._base_rate = scorecard.base_rate
        self._risks = newcomer_risks(scorecard)
        self._told: int | None = None
        """The day of the last records, while the partition is this worker's."""

    @property
    def has_more(self) -> bool:
        """False: there are few records."""
        return False

    def changes(self, mine: Collection[int], again: bool = False) -> list[Record]:
        """The records of a day when it begins, when this worker gets the partition, and `again`."""
        today = self._crowd.today
        if PARTITION not in mine:
            self._told = None
        elif today is not None and (again or today != self._told):
            self._told = today
            return [self._record(seconds, risk, today) for seconds, risk in self._risks.items()]
        return []

    def _record(self, seconds: int, risk: float, today: int) -> Record:
        name = newcomer_name(seconds)
        key = encode_hot_key(HotKind.NEWCOMER, name)
        if risk < LEAST_RISK or risk <= self._base_rate:
            return key, None
        expires = today + LONGEST_DAYS - 1
        return key, encode_hot_fact(
            SharedFeature(HotKind.NEWCOMER, name, 0, 0, risk, expires, salt_mark=self._salt_mark)
        )
