"""A node of a Cluster that stopped answering is tried in the background, not by the calls that need it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from gate.errors import StoreUnavailable
from gate.stores.redis.connections import cluster
from gate.stores.redis.connections.address import read_endpoints
from gate.stores.redis.connections.cluster import ClusterLine
from gate.stores.redis.connections.script_call import Run, Script
from tests.waiting import eventually

ENDPOINTS = read_endpoints("redis+cluster://10.0.0.1:1,10.0.0.2:2")
RUN = Run(Script(b"return 1"), ["{a}"], ())


class FrozenLine:
    """A connection to a node that serves every slot, and answers nothing but the map until it thaws."""

    is_open = False
    frozen = True
    calls = pings = 0

    def __init__(self, *_: object) -> None:
        pass

    async def close(self) -> None:
        pass

    async def connect(self, within_s: float) -> None:
        pass

    async def call(self, packed: Sequence[bytes], until_s: float) -> list[Any]:
        type(self).calls += 1
        if self.frozen:
            raise StoreUnavailable("it did not answer")
        return [1 for _ in packed]

    async def execute(self, *command: bytes, within_s: float) -> Any:
        if command[0] == b"CLUSTER":
            return [[0, 16383, [b"10.0.0.1", 1, b"id"]]]
        type(self).pings += 1
        if self.frozen:
            raise StoreUnavailable("it did not answer")
        return b"PONG"


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterLine]:
    assert ENDPOINTS is not None
    monkeypatch.setattr(cluster, "Line", FrozenLine)
    for name, value in (("frozen", True), ("calls", 0), ("pings", 0)):
        monkeypatch.setattr(FrozenLine, name, value)
    line = ClusterLine(ENDPOINTS, patient=False)
    yield line
    await line.close()


async def outcome(line: ClusterLine) -> Any:
    (found,) = await line.outcomes([RUN], asyncio.get_running_loop().time() + 60.0, again=True)
    return found


async def test_of_all_calls_to_a_frozen_node_one_waits_for_it(line: ClusterLine) -> None:
    first = await outcome(line)
    later = []
    for pings in range(1, 4):
        await eventually(lambda pings=pings: FrozenLine.pings >= pings)  # type: ignore[misc]
        later.append(await outcome(line))

    assert all(isinstance(each, StoreUnavailable) for each in (first, *later))
    assert FrozenLine.calls == 1


async def test_a_node_that_thaws_is_used_again(line: ClusterLine) -> None:
    await outcome(line)
    FrozenLine.frozen = False

    async def is_used() -> bool:
        return bool(await outcome(line) == 1)

    assert await eventually(is_used)


async def test_a_line_that_is_closed_leaves_a_frozen_node_alone(line: ClusterLine) -> None:
    await outcome(line)

    await line.close()

    assert len(asyncio.all_tasks()) == 1
