"""What the uploads of a batch showed: a batch of many counts as one by one, and features of one account are noted once."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gate.core.duration import DAY_US
from streams.core.crowd import CONTENT, DEVICE, HOST, IP, MANY, Crowd, ShownFeatures
from streams.pipeline.crowd_shown import note_shown
from streams.pipeline.folding import CrowdShown

NOON_US = 20_000 * DAY_US + DAY_US // 2
KINDS = (IP, DEVICE, CONTENT, HOST)


class Noting(Crowd):
    """Keeps what it was told of many uploads."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[int, list[tuple[int, int]]] = {}

    def note_batch(self, partition: int, batch: Mapping[int, ShownFeatures]) -> None:
        self.told = {
            kind: list(zip(shown.accounts.tolist(), shown.values.tolist(), strict=True))
            for kind, shown in batch.items()
        }
        super().note_batch(partition, batch)


def shown(*rows: tuple[int, int, int, int, int, int]) -> CrowdShown:
    """Uploads as their account, their time and four features."""
    numbers = [number for number, *_ in rows]
    features = [value for _, *row in rows for value in row]
    return CrowdShown([f"a-{number}" for number in numbers], numbers, [1] * len(rows), [False] * len(rows), features)


OTHERS = [(100 + n, NOON_US, 500 + n, 600 + n, 700 + n, 800 + n) for n in range(MANY)]


def test_a_feature_is_noted_once_for_uploads_of_one_account_in_a_row_on_one_day() -> None:
    crowd = Noting()
    rows = [
        (1, NOON_US, 5, 6, 7, 8),
        (1, NOON_US + 1, 5, 9, 7, 0),
        (1, NOON_US + 2, 5, 6, 0, 8),
        (2, NOON_US, 5, 6, 7, 8),
    ]

    note_shown(crowd, 0, shown(*rows, *OTHERS), None)

    assert [pair for pair in crowd.told[IP] if pair[0] < 100] == [(1, 5), (2, 5)]
    assert [pair for pair in crowd.told[DEVICE] if pair[0] < 100] == [(1, 6), (1, 9), (1, 6), (2, 6)]
    assert [pair for pair in crowd.told[CONTENT] if pair[0] < 100] == [(1, 7), (2, 7)]
    assert [pair for pair in crowd.told[HOST] if pair[0] < 100] == [(1, 8), (1, 8), (2, 8)]


@pytest.mark.parametrize("later_us", [DAY_US, -DAY_US])
def test_the_same_feature_on_another_day_is_noted_again(later_us: int) -> None:
    crowd = Noting()

    note_shown(crowd, 0, shown((1, NOON_US, 5, 6, 7, 8), (1, NOON_US + later_us, 5, 6, 7, 8), *OTHERS), None)

    assert all([number for number, _ in crowd.told[kind] if number == 1] == [1, 1] for kind in KINDS)


def test_many_uploads_count_as_the_same_ones_told_a_few_at_a_time() -> None:
    rows = [(n % 7, NOON_US + n, 5 + n % 3, 6 + n % 2, 7 + n % 11, 0) for n in range(4 * MANY)]
    at_once, by_few = Crowd(), Crowd()

    note_shown(at_once, 0, shown(*rows), None)
    for start in range(0, len(rows), 8):
        note_shown(by_few, 0, shown(*rows[start : start + 8]), None)

    counted = [(kind, value) for kind in KINDS for value in range(20)]
    assert [at_once.counts(*feature) for feature in counted] == [by_few.counts(*feature) for feature in counted]
    assert at_once.count(DEVICE, 6) == 7
