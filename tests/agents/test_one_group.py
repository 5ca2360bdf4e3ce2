"""Two consumer groups over one Redis: each says so once and compares no marks; a group that has ended disturbs nobody."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from gate.errors import StoreUnavailable
from streams.worker.one_group import OneGroup
from streams.worker.timers import Upkeep


class Claims:
    """The claims of a Redis."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def claim(self, name: str, expected: str, following: str) -> str:
        before = self.kept.get(name, "")
        if before == expected:
            self.kept[name] = following
        return before


def claiming(marks: Claims, group: str, cluster: str = "c-1") -> OneGroup:
    return OneGroup(marks, group, "accounts.scores.v1", lambda: cluster, "ug:")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(("group", "cluster"), [("theirs", "c-1"), ("ours", "c-2")])
async def test_two_live_groups_log_each_other_once_and_compare_nothing(
    group: str, cluster: str, caplog: pytest.LogCaptureFixture
) -> None:
    marks = Claims()
    one, other = claiming(marks, "ours"), claiming(marks, group, cluster)

    alone = [(await one.is_alone(), await other.is_alone()) for _ in range(30)]

    assert not any(first or second for first, second in alone[3:])
    said = told(caplog)
    assert len(said) == 2
    assert f"another consumer group, {group} of the Kafka cluster {cluster}," in "".join(said)
    assert all("UPLOAD_GATE_PREFIX" in line and "UPLOAD_GATE_GROUP" in line for line in said)


@pytest.mark.parametrize("slower", [2, 3])
async def test_a_group_that_looks_less_often_is_met_all_the_same(slower: int, caplog: pytest.LogCaptureFixture) -> None:
    marks = Claims()
    one, other = claiming(marks, "ours"), claiming(marks, "theirs")

    alone = []
    for number in range(120):
        alone.append(await one.is_alone())
        if number % slower == 0:
            alone.append(await other.is_alone())

    assert not any(alone[40:])
    assert len(told(caplog)) == 2


def upkeep(one_group: OneGroup, fill: Any) -> Upkeep:
    """Upkeep that does nothing but fill Redis, by `fill`."""
    partitions: Any = SimpleNamespace(catch_up_redis=fill)
    nobody: Any = None
    return Upkeep(partitions, nobody, nobody, nobody, nobody, nobody, one_group)


async def test_a_group_names_itself_while_it_still_writes_scores_again() -> None:
    marks, full = Claims(), asyncio.Event()
    ours, theirs = claiming(marks, "ours"), claiming(marks, "theirs")
    busy = upkeep(ours, lambda _: full.wait())
    filling = asyncio.create_task(busy.fill_redis())
    await asyncio.sleep(0)

    for _ in range(12):
        await busy.claim_redis()
        await theirs.is_alone()

    assert not filling.done()
    assert not ours.alone
    assert not theirs.alone
    full.set()
    await filling


async def test_a_redis_that_is_away_leaves_the_last_answer_as_it_was() -> None:
    marks = Claims()
    ours = claiming(marks, "ours")
    busy = upkeep(ours, None)
    before = ours.alone
    await busy.claim_redis()

    async def away(*claim: str) -> str:
        raise StoreUnavailable("nobody there")

    marks.claim = away  # type: ignore[method-assign, assignment]
    await busy.claim_redis()
    never_answered = claiming(marks, "theirs")
    await upkeep(never_answered, None).claim_redis()

    assert (before, ours.alone) == (False, True)
    assert never_answered.alone


async def test_workers_of_one_group_are_alone(caplog: pytest.LogCaptureFixture) -> None:
    marks = Claims()
    workers = [claiming(marks, "ours") for _ in range(3)]

    alone = [await worker.is_alone() for _ in range(10) for worker in workers]

    assert all(alone)
    assert told(caplog) == []


async def test_the_name_that_a_former_group_left_is_replaced_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    marks = Claims()
    await claiming(marks, "former").is_alone()
    now = claiming(marks, "ours")

    alone = [await now.is_alone() for _ in range(6)]

    assert alone == [False, False, False, True, True, True]
    assert told(caplog) == []


async def test_a_redis_that_was_emptied_is_no_other_group(caplog: pytest.LogCaptureFixture) -> None:
    marks = Claims()
    worker = claiming(marks, "ours")
    first = await worker.is_alone()
    marks.kept.clear()

    alone = [first, *[await worker.is_alone() for _ in range(3)]]

    assert all(alone)
    assert told(caplog) == []


async def test_the_end_of_the_other_group_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    marks = Claims()
    one, other = claiming(marks, "ours"), claiming(marks, "theirs")
    for _ in range(20):
        await one.is_alone()
        await other.is_alone()

    alone = [await one.is_alone() for _ in range(8)]

    assert alone[-1]
    assert told(caplog)[-1] == "no other consumer group writes scores to this Redis any more"
