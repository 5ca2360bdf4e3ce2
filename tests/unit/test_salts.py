"""A gate whose salt is not the workers' notices it by the hot facts, says it once, and shows and acknowledges it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.app.compare_salt import TOLD, CompareSalt
from gate.app.hear_hot_facts import HearHotFacts
from gate.core.duration import DAY_US
from gate.core.hot_facts import HotFactTable, HotKind, SharedFeature
from gate.core.pseudonym import salt_mark
from gate.records.hot_fact import decode_hot_fact, decode_hot_key, encode_hot_fact, encode_hot_key
from streams.worker.hot_facts import HotFactRecords
from streams.worker.newcomer_facts import NewcomerRecords
from tests.edges.running_gate import running_gate
from tests.unit.test_hot_facts import crowded
from tests.unit.test_newborn_risk import sign_ups

TODAY = 20_600
KEY = encode_hot_key(HotKind.NEWCOMER, f"{30:016x}")


class Clock:
    def now_us(self) -> int:
        return TODAY * DAY_US + 1


def a_fact(mark: str) -> bytes:
    return encode_hot_fact(SharedFeature(HotKind.NEWCOMER, f"{30:016x}", 0, 0, 0.5, TODAY + 7, salt_mark=mark))


def test_a_mark_tells_salts_apart_and_nothing_else_of_them() -> None:
    marks = {salt_mark(b"one"), salt_mark(b"two"), salt_mark(b"")}

    assert len(marks) == 3
    assert {len(mark) for mark in marks} == {8}


@pytest.mark.parametrize(("mark", "read"), [("0a1b2c3d", "0a1b2c3d"), ("", ""), ("x" * 500, "x" * 8)])
def test_a_fact_keeps_the_mark_that_its_worker_gave_it(mark: str, read: str) -> None:
    assert decode_hot_fact(decode_hot_key(KEY), a_fact(mark)).salt_mark == read


def test_a_gate_with_another_salt_says_so_once_and_again_after_the_salts_were_the_same() -> None:
    facts, told = HotFactTable(), list[str]()
    heard, comparing = HearHotFacts(facts, Clock()), CompareSalt("aaaaaaaa", facts, told.append)
    shown: list[bool] = []

    for marks in (("",), ("bbbbbbbb", "aaaaaaaa"), ("bbbbbbbb",), (), (), ("", "aaaaaaaa"), ("bbbbbbbb",), ()):
        for mark in marks:
            heard.hear(KEY, a_fact(mark))
        comparing.look()
        shown.append(comparing.differs)

    assert shown == [False, False, False, True, True, False, False, True]
    assert told == [TOLD] * 2


def test_every_record_of_a_worker_has_the_mark_of_its_salt() -> None:
    crowd, card = crowded("farm", 30), sign_ups()
    shared, newcomers = HotFactRecords(crowd, card, 4, "0a1b2c3d"), NewcomerRecords(crowd, card, "0a1b2c3d")

    made = [*shared.changes(range(4)), *newcomers.changes(range(4))]
    records = [(key, value) for key, value in made if value is not None]

    kinds = {decode_hot_key(key).kind for key, _ in records}
    assert {decode_hot_fact(decode_hot_key(key), value).salt_mark for key, value in records} == {"0a1b2c3d"}
    assert kinds == {HotKind.DEVICE, HotKind.NEWCOMER}


async def test_the_ready_page_the_metrics_and_the_acknowledgement_show_it(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        before = (await gate.get("/readyz")).json["salt_differs"]
        gate.health.salt_differs = lambda: True
        gate.check.hot.workers_salt = "bbbbbbbb"
        ready, metrics = await gate.get("/readyz"), await gate.get("/metrics")
        said = gate.health.watch.acknowledgement()

    assert (before, ready.json["salt_differs"]) == (False, True)
    assert "upload_gate_salt_differs 1.0" in metrics.body.decode()
    assert said.workers_salt == "bbbbbbbb"
