"""Floods: unique features cannot push out shared ones, counts hold over restarts, and memory is what is stated.

The exact counts that are compared with are sets of accounts, which keep everything.
"""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections import defaultdict

import pytest

from gate.core.duration import DAY_US
from streams.core.crowd import CONTENT, DEVICE, IP, KINDS, Crowd, Kind
from streams.core.crowd.table import MAX_READY

pytestmark = pytest.mark.long

NOW_US = 20_780 * DAY_US
PARTITIONS = 4
FARMS = 200
GOLDEN = 0x9E37_79B9_7F4A_7C15


def unique(number: int) -> int:
    """A value as a keyed hash would give it."""
    return (number * GOLDEN) & 0xFFFF_FFFF_FFFF_FFFF


def flood(crowd: Crowd, kind: int, first: int, count: int, at_us: int = NOW_US) -> None:
    note, step = crowd.note, GOLDEN
    value = unique(first)
    for number in range(first, first + count):
        value = (value + step) & 0xFFFF_FFFF_FFFF_FFFF
        note(number & 3, kind, value, number & 0xFFFF_FFFF, at_us)


def test_a_farms_device_outlives_unique_contents() -> None:
    crowd = Crowd()
    for account in range(30):
        crowd.note(0, DEVICE, 7, account, NOW_US)

    flood(crowd, CONTENT, 0, 800_000)

    assert crowd.count(DEVICE, 7) == 30


def test_a_farm_outlives_unique_devices_and_pairs_of_its_own_kind() -> None:
    small = {DEVICE: Kind(shared_bytes=100 * 150, lone_slots=1 << 10)}
    crowd = Crowd(kinds=small)
    for account in range(30):
        crowd.note(0, DEVICE, 7, account, NOW_US)

    flood(crowd, DEVICE, 0, 20_000)
    for number in range(20_000):
        for account in (1, 2):
            crowd.note(0, DEVICE, unique(number + 1_000_000), account, NOW_US)

    assert crowd.count(DEVICE, 7) == 30


def test_a_content_that_spreads_within_the_flood_is_counted() -> None:
    crowd = Crowd()

    for account in range(30):
        crowd.note(0, CONTENT, 7, account, NOW_US)
        flood(crowd, CONTENT, account * 10_000, 10_000)

    assert crowd.count(CONTENT, 7) == 30


def test_a_lone_account_that_came_twice_is_remembered_beyond_its_slot() -> None:
    crowd = Crowd(kinds={DEVICE: Kind(lone_slots=1 << 4)})
    for _ in range(2):
        crowd.note(0, DEVICE, 7, 1, NOW_US, established=True)

    flood(crowd, DEVICE, 0, 1_000)
    crowd.note(0, DEVICE, 7, 2, NOW_US)

    assert crowd.counts(DEVICE, 7) == (2, 1)


@pytest.mark.parametrize("days", [0, 1])
def test_a_lone_account_of_which_more_is_learned_is_told_anew(days: int) -> None:
    crowd = Crowd()
    for _ in range(3):
        crowd.note(0, DEVICE, 7, 1, NOW_US)
    assert crowd.counts(DEVICE, 7) == (1, 0)

    crowd.note(0, DEVICE, 7, 1, NOW_US + days * DAY_US, established=True)

    assert crowd.counts(DEVICE, 7) == (1, 1)


def test_a_lone_account_that_comes_every_day_never_drops_out() -> None:
    crowd = Crowd()

    for day in range(30):
        crowd.note(0, DEVICE, 9, 1, NOW_US + day * DAY_US)
        for _ in range(3):
            crowd.note(0, DEVICE, 7, 1, NOW_US + day * DAY_US)
        assert crowd.count(DEVICE, 7) == 1
    for day in range(30, 30 + KINDS[DEVICE].days):
        crowd.note(0, DEVICE, 8, 1, NOW_US + day * DAY_US)

    assert crowd.count(DEVICE, 7) == 0


class Fleet:
    """Two workers with four partitions between them and the topic that both hear; members are lost with a worker."""

    def __init__(self) -> None:
        self.workers = [Crowd(), Crowd()]
        self.owner = [0, 0, 1, 1]
        self.topic: dict[tuple[int, str], bytes] = {}
        self.shown: list[dict[tuple[int, int], set[int]]] = [defaultdict(set)]
        self.now_us = NOW_US

    def show(self, partition: int, value: int, account: int) -> None:
        self.workers[self.owner[partition]].note(partition, DEVICE, value, account, self.now_us)
        self.shown[-1][partition, value].add(account)

    def publish(self) -> None:
        for partition, owner in enumerate(self.owner):
            for told in self.workers[owner].take_changed(partition):
                self.topic[partition, told.feature] = told.record
                for worker in self.workers:
                    assert worker.hear(partition, told.feature, told.record, self.now_us)

    def restart(self, number: int) -> None:
        self.publish()
        self.workers[number] = Crowd()
        self._hear_again(self.workers[number])
        self.shown.append(defaultdict(set))

    def reassign(self) -> None:
        self.publish()
        self.owner = [1 - owner for owner in self.owner]
        self.shown.append(defaultdict(set))

    def whole(self, value: int) -> int:
        return sum(
            len(set().union(*(life[at, value] for life in self.shown if (at, value) in life)))
            for at in range(PARTITIONS)
        )

    def assured(self, value: int) -> int:
        """The most that one life of an owner saw in each partition, less the floor."""
        return sum(
            max(len(life.get((at, value), ())) for life in self.shown) - KINDS[DEVICE].floor for at in range(PARTITIONS)
        )

    def _hear_again(self, worker: Crowd) -> None:
        for (partition, feature), record in self.topic.items():
            assert worker.hear(partition, feature, record, self.now_us)


def counts_hold_over_restarts(features: int) -> None:
    """Farms grow amid so many unique devices and contents, while workers restart and partitions move."""
    rng, fleet = random.Random(features), Fleet()
    farms = {unique(-1 - number): 8 + number % 120 for number in range(FARMS)}
    rounds = 10
    chunk = features // rounds // 4
    for turn in range(rounds):
        for number, worker in enumerate(fleet.workers):
            flood(worker, CONTENT, (turn * 4 + number) * chunk, chunk, fleet.now_us)
            flood(worker, DEVICE, (turn * 4 + 2 + number) * chunk, chunk, fleet.now_us)
        for value, accounts in farms.items():
            for _ in range(accounts):
                account = rng.randrange(accounts)
                fleet.show(account % PARTITIONS, value, account)
        if turn in (2, 6):
            fleet.restart(turn // 4)
        elif turn == 4:
            fleet.reassign()
        fleet.now_us += DAY_US // 2 if turn % 2 else 0
    fleet.publish()

    for value in farms:
        for worker in fleet.workers:
            assert fleet.assured(value) <= worker.count(DEVICE, value) <= fleet.whole(value)

    for value, accounts in farms.items():  # everybody comes back once: nobody is missing but for the floor
        for account in range(accounts):
            fleet.show(account % PARTITIONS, value, account)
    fleet.publish()
    for value, accounts in farms.items():
        for worker in fleet.workers:
            assert accounts - KINDS[DEVICE].floor * PARTITIONS <= worker.count(DEVICE, value) <= accounts


def test_counts_hold_over_restarts_and_reassignments() -> None:
    counts_hold_over_restarts(200_000)


@pytest.mark.slow
def test_counts_hold_over_restarts_and_reassignments_with_ten_million_features() -> None:
    counts_hold_over_restarts(10_000_000)


def test_a_lone_account_takes_its_slot_and_a_shared_feature_what_is_stated() -> None:
    kinds = {CONTENT: Kind(shared_bytes=1 << 20, lone_slots=1 << 15)}
    gc.collect()
    tracemalloc.start()
    crowd = Crowd(kinds=kinds)

    flood(crowd, CONTENT, 0, 50_000)
    lone = tracemalloc.get_traced_memory()[0]
    for number in range(15_000):
        for account in range(3):
            crowd.note(0, CONTENT, unique(-number), account, NOW_US)
    crowd.take_changed(0)
    shared = tracemalloc.get_traced_memory()[0] - lone
    tracemalloc.stop()

    assert lone < 16 * (1 << 15) * 1.1 + MAX_READY * 140
    assert 0.7 * (1 << 20) < shared < 1.3 * (1 << 20)


def test_what_is_kept_is_nothing_that_the_garbage_collector_visits() -> None:
    crowd = Crowd()
    gc.collect()
    before = len(gc.get_objects())

    for number in range(20_000):
        for account in range(3):
            crowd.note(0, IP, unique(number), account, NOW_US)

    assert crowd.count(IP, unique(19_999)) == 3
    assert len(gc.get_objects()) - before < 100
