"""A replay waits for the first hot facts: a check that is decided without them would make its figures depend on chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from gate.errors import StoreUnavailable
from gate.stores.redis.hot_facts import AT_ONCE, Hear
from streams.lab import replay_system
from streams.lab.replay_system import ReplaySystem


class Told:
    """The hot facts of a worker, which tells so many by each read."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.left = list(counts)

    async def read(self, hear: Hear) -> int:
        count = self.left.pop(0) if self.left else 0
        for _ in range(count):
            hear(b"key", b"value")
        return count


class Running:
    """A worker that ends after so many looks at it."""

    log = "worker.log"

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def poll(self) -> int | None:
        self.looks -= 1
        return None if self.looks >= 0 else 3


def system(told: Told, looks: int, monkeypatch: pytest.MonkeyPatch) -> ReplaySystem:
    monkeypatch.setattr(replay_system, "HOT_WITHIN_S", 0.0)
    monkeypatch.setattr(replay_system, "tail", lambda log: "")
    return ReplaySystem(cast(Any, None), cast(Any, None), cast(Any, Running(looks)), "", cast(Any, told))


async def test_the_first_read_waits_until_the_worker_has_told_something(monkeypatch: pytest.MonkeyPatch) -> None:
    told, heard = Told([0, 0, 0, AT_ONCE, 0, 5]), []
    own = system(told, 3, monkeypatch)

    await own.hot_facts(lambda key, value: heard.append(key))

    assert (len(heard), told.left) == (AT_ONCE, [5])


async def test_later_reads_take_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    told, heard = Told([7, 0, 5]), []
    own = system(told, 0, monkeypatch)

    for _ in range(2):
        await own.hot_facts(lambda key, value: heard.append(key))

    assert (len(heard), told.left) == (7, [5])


async def test_a_worker_that_has_ended_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreUnavailable, match="ended"):
        await system(Told([]), 2, monkeypatch).hot_facts(lambda key, value: None)


async def test_a_worker_that_tells_nothing_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_system, "HOT_AT_FIRST_S", 0.0)
    told = Told([0] * 100)
    own = system(told, 100, monkeypatch)
    await own.hot_facts(lambda key, value: None)
    monkeypatch.setattr(replay_system, "HOT_AT_FIRST_S", 1e9)
    left = len(told.left)

    await own.hot_facts(lambda key, value: None)

    assert left - len(told.left) == 1
