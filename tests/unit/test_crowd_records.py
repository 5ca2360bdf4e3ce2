"""Records of the crowd topic: how a count is written, and that nothing else is believed."""

from __future__ import annotations

import json

import pytest

from gate.core.duration import DAY_US
from streams.core.crowd import CEILING, DEVICE, IP, KINDS, Crowd
from streams.core.crowd.heard import MAX_PARTITIONS

TODAY = 20_780
NOW_US = TODAY * DAY_US + 3_600_000_000
DAYS = KINDS[DEVICE].days
NAME = f"{DEVICE:x}{7:016x}"


def crowd_today() -> Crowd:
    crowd = Crowd()
    crowd.note(0, IP, 1, 1, NOW_US)
    return crowd


def record(*parts: object) -> bytes:
    return json.dumps(parts).encode()


def test_a_count_is_written_with_its_day_and_one_number_a_day() -> None:
    crowd = Crowd()
    for account in range(9):
        crowd.note(0, DEVICE, 7, account, NOW_US - DAY_US, established=True)
    for account in range(4):
        crowd.note(0, DEVICE, 7, account, NOW_US)

    (told,) = crowd.take_changed(0)

    assert (told.feature, told.count, told.established) == (NAME, 9, 5)
    assert json.loads(told.record) == [2, TODAY, [9] * (DAYS - 1) + [4], [5] * (DAYS - 1) + [0]]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[",
        b"null",
        b"\xff\xfe",
        record(),
        record(2, TODAY, [9]),
        record(2, TODAY, [9], [0], [0]),
        record(3, TODAY, [9], [0]),
        record(2, TODAY, [], []),
        record(2, TODAY, [9, 8], [0]),
        record(2, TODAY, [-1], [0]),
        record(2, TODAY, [9], [-1]),
        record(2, TODAY, [9.5], [0]),
        record(2, TODAY, ["9"], [0]),
        record(2, -1, [9], [0]),
        record(2, 1 << 70, [9], [0]),
        record(2, TODAY + DAYS + 1, [9], [0]),
        record(2, TODAY - DAYS, [9], [0]),
        record(2, TODAY, [9] * 2_000, [0] * 2_000),
        b"[" * 1_000_000,
        -1,
    ],
)
def test_what_is_no_count_is_refused(value: bytes | int) -> None:
    crowd = crowd_today()

    assert not crowd.hear(1, NAME, value)
    assert crowd.count(DEVICE, 7) == 0


@pytest.mark.parametrize("feature", ["", "not hex", "0x" + "0" * 15, NAME[:-1], NAME + "0", "0" + NAME[1:], "f" * 17])
@pytest.mark.parametrize("partition", [0])
def test_what_is_no_feature_of_a_known_kind_is_refused(feature: str, partition: int) -> None:
    assert not crowd_today().hear(partition, feature, record(2, TODAY, [9], [0]))


@pytest.mark.parametrize("partition", [-1, 1 << 16, 1 << 80])
def test_what_is_no_partition_is_refused(partition: int) -> None:
    assert not crowd_today().hear(partition, NAME, record(2, TODAY, [9], [0]))


def test_no_count_stands_for_a_day_after_the_broker_wrote_it_down() -> None:
    crowd = Crowd()

    assert not crowd.hear(1, NAME, record(2, TODAY + 2, [9], [0]), NOW_US)
    assert crowd.hear(1, NAME, record(2, TODAY + 1, [9], [0]), NOW_US)


def test_a_count_from_far_ahead_that_was_heard_before_the_first_event_neither_counts_nor_stays() -> None:
    crowd = Crowd()
    assert crowd.hear(1, NAME, record(2, TODAY + 9_999, [60] * DAYS, [0] * DAYS))

    crowd.note(0, IP, 1, 1, NOW_US)
    assert crowd.count(DEVICE, 7) == 0
    assert crowd.hear(1, NAME, record(2, TODAY, [9] * DAYS, [0] * DAYS))

    assert crowd.count(DEVICE, 7) == 9


def test_huge_counts_are_the_ceiling_and_nobody_is_established_who_does_not_count() -> None:
    crowd = crowd_today()

    assert crowd.hear(1, NAME, record(2, TODAY, [10**12] * DAYS, [10**12] * DAYS))
    assert crowd.hear(2, NAME, record(2, TODAY, [5] * DAYS, [9] * DAYS))

    assert crowd.counts(DEVICE, 7) == (CEILING + 5, CEILING + 5)


@pytest.mark.parametrize(("numbers", "tomorrow"), [([9], 9), ([9, 8], 9), ([9] * 2 + [8] * DAYS, 8), ([3, 9], 9)])
def test_a_record_of_another_window_counts_by_its_last_days(numbers: list[int], tomorrow: int) -> None:
    crowd = crowd_today()

    assert crowd.hear(1, NAME, record(2, TODAY, numbers, [0] * len(numbers)))

    crowd.note(0, IP, 1, 1, NOW_US + DAY_US)
    assert crowd.count(DEVICE, 7) == tomorrow


def test_a_bare_number_counts_until_the_day_ends() -> None:
    crowd = crowd_today()

    assert crowd.hear(1, NAME, 40)
    assert crowd.count(DEVICE, 7) == 40
    crowd.note(0, IP, 1, 1, NOW_US + DAY_US)

    assert crowd.count(DEVICE, 7) == 0


def test_one_feature_is_heard_of_so_many_partitions_as_a_topic_may_have() -> None:
    crowd = crowd_today()

    for partition in range(2 * MAX_PARTITIONS):
        crowd.hear(partition, NAME, record(2, TODAY, [9] * DAYS, [0] * DAYS))

    assert crowd.count(DEVICE, 7) == 9 * MAX_PARTITIONS
