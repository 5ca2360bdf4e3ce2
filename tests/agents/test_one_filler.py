"""Two consumer groups over one Redis: each says so once and compares no marks; a group that has ended disturbs nobody."""

from __future__ import annotations

import logging

import pytest

from streams.worker.one_filler import OneFiller


class Claims:
    """The claims of a Redis."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def claim(self, name: str, expected: str, following: str) -> str:
        before = self.kept.get(name, "")
        if before == expected:
            self.kept[name] = following
        return before


def filler(marks: Claims, group: str, cluster: str = "c-1") -> OneFiller:
    return OneFiller(marks, group, "accounts.scores.v1", lambda: cluster, "ug:")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(("group", "cluster"), [("theirs", "c-1"), ("ours", "c-2")])
async def test_two_groups_that_live_are_told_once_each_and_compare_nothing(
    group: str, cluster: str, caplog: pytest.LogCaptureFixture
) -> None:
    marks = Claims()
    one, other = filler(marks, "ours"), filler(marks, group, cluster)

    alone = [(await one.is_alone(), await other.is_alone()) for _ in range(30)]

    assert not any(first or second for first, second in alone[3:])
    said = told(caplog)
    assert len(said) == 2
    assert f"another consumer group, {group} of the Kafka cluster {cluster}," in "".join(said)
    assert all("UPLOAD_GATE_PREFIX" in line and "UPLOAD_GATE_GROUP" in line for line in said)


async def test_workers_of_one_group_are_alone(caplog: pytest.LogCaptureFixture) -> None:
    marks = Claims()
    workers = [filler(marks, "ours") for _ in range(3)]

    alone = [await worker.is_alone() for _ in range(10) for worker in workers]

    assert all(alone)
    assert told(caplog) == []


async def test_the_name_that_a_former_group_left_is_replaced_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    marks = Claims()
    await filler(marks, "former").is_alone()
    now = filler(marks, "ours")

    alone = [await now.is_alone() for _ in range(6)]

    assert alone == [False, False, False, True, True, True]
    assert told(caplog) == []


async def test_a_redis_that_was_emptied_is_no_other_group(caplog: pytest.LogCaptureFixture) -> None:
    marks = Claims()
    worker = filler(marks, "ours")
    first = await worker.is_alone()
    marks.kept.clear()

    alone = [first, *[await worker.is_alone() for _ in range(3)]]

    assert all(alone)
    assert told(caplog) == []


async def test_the_end_of_the_other_group_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    marks = Claims()
    one, other = filler(marks, "ours"), filler(marks, "theirs")
    for _ in range(20):
        await one.is_alone()
        await other.is_alone()

    alone = [await one.is_alone() for _ in range(8)]

    assert alone[-1]
    assert told(caplog)[-1] == "no other consumer group writes scores to this Redis any more"
