"""Back-pressure on batches: how many are under way at once, in which order they wait, and what is shed."""

import asyncio
from collections.abc import Sequence

from gate.app.back_pressure import BackPressure
from gate.app.batch_takes import BatchTakes
from gate.app.refusing_limits import RefusingLimits
from gate.core.limits.take import TakeRequest, TakeResult
from gate.errors import StoreOverloaded
from gate.policyfile import load_policy
from gate.stores.memory.accounts import MemoryAccountStore
from tests.take_requests import WallClock, take_request
from tests.waiting import eventually


class Broken(MemoryAccountStore):
    """A store of which every call for a batch fails."""

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        raise ValueError("broken")


class Traffic:
    """Batches that hold their room until they are let go."""

    def __init__(self, pressure: BackPressure) -> None:
        self.pressure = pressure
        self.begun: list[str] = []
        self.shed: list[str] = []
        self.checks = 0
        self.most = 0
        self.go = asyncio.Event()

    async def batch(self, name: str, checks: int) -> None:
        try:
            if not self.pressure.enter(checks):
                await self.pressure.wait(checks)
        except StoreOverloaded:
            self.shed.append(name)
            return
        self.begun.append(name)
        self.checks += checks
        self.most = max(self.most, self.checks)
        try:
            await self.go.wait()
        finally:
            self.checks -= checks
            self.pressure.leave(checks)


async def test_at_most_so_many_checks_are_under_way_and_all_go_in_their_order() -> None:
    traffic = Traffic(BackPressure(checks=64, waiting=10_000, within_s=30))
    names = [f"b-{n}" for n in range(100)]

    tasks = [asyncio.create_task(traffic.batch(name, 32)) for name in names]
    await eventually(lambda: len(traffic.begun) == 2)
    traffic.go.set()
    await asyncio.gather(*tasks)

    assert (traffic.begun, traffic.shed, traffic.most) == (names, [], 64)


async def test_a_batch_larger_than_the_room_goes_alone() -> None:
    traffic = Traffic(BackPressure(checks=64, waiting=10_000, within_s=30))
    traffic.go.set()

    await asyncio.gather(traffic.batch("small", 32), traffic.batch("large", 256), traffic.batch("small", 32))

    assert (traffic.begun, traffic.most) == (["small", "large", "small"], 256)


async def test_batches_beyond_those_that_may_wait_are_shed_at_once() -> None:
    traffic = Traffic(BackPressure(checks=32, waiting=64, within_s=30))

    tasks = [asyncio.create_task(traffic.batch(f"b-{n}", 32)) for n in range(10)]
    await eventually(lambda: len(traffic.shed) == 7)
    traffic.go.set()
    await asyncio.gather(*tasks)

    assert traffic.begun == ["b-0", "b-1", "b-2"]


async def test_those_who_waited_too_long_or_gave_up_leave_no_trace() -> None:
    traffic = Traffic(BackPressure(checks=32, waiting=10_000, within_s=0.05))
    first = asyncio.create_task(traffic.batch("first", 32))
    late = [asyncio.create_task(traffic.batch(f"late-{n}", 32)) for n in range(50)]
    await eventually(lambda: traffic.begun)
    late[7].cancel()
    await asyncio.gather(*late, return_exceptions=True)

    traffic.go.set()
    await first
    await asyncio.gather(*(traffic.batch(f"after-{n}", 32) for n in range(20)))

    assert len(traffic.shed) == 49
    assert traffic.begun == ["first", *(f"after-{n}" for n in range(20))]


async def test_a_turn_that_comes_while_its_batch_gives_up_goes_to_the_next() -> None:
    traffic = Traffic(BackPressure(checks=32, waiting=10_000, within_s=30))
    tasks = [asyncio.create_task(traffic.batch(f"b-{n}", 32)) for n in range(3)]
    await eventually(lambda: traffic.begun)

    traffic.go.set()
    tasks[0].cancel()
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [isinstance(result, BaseException) for result in results] == [True, True, False]
    assert traffic.begun == ["b-0", "b-2"]


async def test_room_is_given_back_when_a_batch_fails() -> None:
    pressure = BackPressure(checks=1, waiting=1, within_s=30)
    takes = BatchTakes(Broken(WallClock()), pressure, RefusingLimits(), lambda notice: None)

    for _ in range(3):
        _, (answer,) = await takes.answers([take_request("u")], load_policy(None), waits=True)
        assert isinstance(answer, ValueError)

    assert pressure.enter(1)
