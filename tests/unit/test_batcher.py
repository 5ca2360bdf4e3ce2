"""The micro-batcher and its breaker, over lanes that a test holds in its hand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest

from gate.errors import StoreOverloaded, StoreUnavailable
from gate.stores.redis.batcher import Batcher
from tests.waiting import eventually


class HeldLane:
    """Answers x with 10·x once `open` is set; `broken` makes calls and probes fail."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.probes = 0
        self.under_way = 0
        self.most_under_way = 0
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def call(self, items: Sequence[int], within_s: float) -> list[int]:
        self.calls.append(list(items))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.open.wait()
        finally:
            self.under_way -= 1
        if any(item < 0 for item in items):
            raise ValueError("a negative item")
        if self.broken:
            raise StoreUnavailable("broken")
        return [10 * item for item in items]

    async def probe(self, within_s: float) -> None:
        self.probes += 1
        if self.broken:
            raise StoreUnavailable("still broken")


@pytest.fixture
def lane() -> HeldLane:
    return HeldLane()


@pytest.fixture
async def batcher(lane: HeldLane) -> AsyncIterator[Batcher[int, int]]:
    batcher: Batcher[int, int] = Batcher([lane], deadline_s=30.0, max_batch=4, max_queue=8)
    await batcher.open()
    yield batcher
    await batcher.close()


async def test_a_lone_item_goes_out_at_once(lane: HeldLane, batcher: Batcher[int, int]) -> None:
    assert await batcher.submit(7) == 70
    assert lane.calls == [[7]]


async def test_what_waits_during_a_call_rides_the_next_ones_in_order(
    lane: HeldLane, batcher: Batcher[int, int]
) -> None:
    lane.open.clear()
    first = asyncio.create_task(batcher.submit(0))
    await eventually(lambda: lane.calls)
    rest = [asyncio.create_task(batcher.submit(i)) for i in range(1, 8)]
    await asyncio.sleep(0)

    lane.open.set()

    assert await asyncio.gather(first, *rest) == [0, 10, 20, 30, 40, 50, 60, 70]
    assert lane.calls == [[0], [1, 2, 3, 4], [5, 6, 7]]
    assert lane.most_under_way == 1


async def test_exactly_what_exceeds_the_queue_is_shed_at_once(lane: HeldLane, batcher: Batcher[int, int]) -> None:
    lane.open.clear()
    first = asyncio.create_task(batcher.submit(0))
    await eventually(lambda: lane.calls)

    waiting = [asyncio.create_task(batcher.submit(i)) for i in range(1, 13)]
    await eventually(lambda: sum(task.done() for task in waiting) == 4)
    lane.open.set()
    answers = await asyncio.gather(first, *waiting, return_exceptions=True)

    assert answers[:9] == [10 * i for i in range(9)]
    assert all(isinstance(answer, StoreOverloaded) and "overloaded" in str(answer) for answer in answers[9:])
    assert (batcher.shed, batcher.down) == (4, None)


async def test_an_item_whose_caller_gave_up_while_waiting_is_never_sent(
    lane: HeldLane, batcher: Batcher[int, int]
) -> None:
    lane.open.clear()
    first = asyncio.create_task(batcher.submit(1))
    await eventually(lambda: lane.calls)
    second = asyncio.create_task(batcher.submit(2))
    third = asyncio.create_task(batcher.submit(3))
    await asyncio.sleep(0)

    second.cancel()
    lane.open.set()

    assert [await first, await third] == [10, 30]
    assert lane.calls == [[1], [3]]


async def test_a_caller_who_gives_up_during_a_call_disturbs_nobody(lane: HeldLane, batcher: Batcher[int, int]) -> None:
    lane.open.clear()
    tasks = [asyncio.create_task(batcher.submit(i)) for i in range(3)]
    await eventually(lambda: lane.calls)

    tasks[1].cancel()
    lane.open.set()

    assert [await tasks[0], await tasks[2]] == [0, 20]
    assert lane.calls == [[0, 1, 2]]


async def test_one_item_that_cannot_be_sent_harms_no_other(lane: HeldLane, batcher: Batcher[int, int]) -> None:
    answers = await asyncio.gather(*(batcher.submit(i) for i in (1, -2, 3)), return_exceptions=True)

    assert answers[0] == 10
    assert isinstance(answers[1], ValueError)
    assert answers[2] == 30
    assert batcher.down is None


async def test_a_failure_opens_the_breaker_for_all_and_a_probe_closes_it_by_itself(
    lane: HeldLane, batcher: Batcher[int, int]
) -> None:
    lane.broken = True
    lane.open.clear()
    waiting = [asyncio.create_task(batcher.submit(i)) for i in range(8)]
    await eventually(lambda: lane.calls)
    lane.open.set()

    answers = await asyncio.gather(*waiting, return_exceptions=True)
    sent = len(lane.calls)
    with pytest.raises(StoreUnavailable):
        await batcher.submit(9)
    await eventually(lambda: lane.probes >= 3)
    lane.broken = False
    await eventually(lambda: batcher.down is None)

    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert sent == 1
    assert len(lane.calls) == 1
    assert await batcher.submit(9) == 90


async def test_a_server_that_fails_while_items_are_sent_singly_leaves_nobody_waiting(
    lane: HeldLane, batcher: Batcher[int, int]
) -> None:
    lane.broken = True

    answers = await asyncio.gather(*(batcher.submit(i) for i in (-1, 2, 3)), return_exceptions=True)

    assert isinstance(answers[0], ValueError)
    assert [type(answer) for answer in answers[1:]] == [StoreUnavailable] * 2
    assert lane.calls == [[-1, 2, 3], [-1], [2]]


async def test_a_server_away_at_the_start_does_not_keep_the_gate_from_starting(lane: HeldLane) -> None:
    lane.broken = True
    batcher: Batcher[int, int] = Batcher([lane], deadline_s=30.0)

    await batcher.open()
    with pytest.raises(StoreUnavailable):
        await batcher.submit(1)
    lane.broken = False
    await eventually(lambda: batcher.down is None)

    assert await batcher.submit(1) == 10
    await batcher.close()


async def test_what_has_waited_for_half_its_deadline_is_shed_and_the_next_is_served(lane: HeldLane) -> None:
    batcher: Batcher[int, int] = Batcher([lane], deadline_s=0.2)
    await batcher.open()
    lane.open.clear()
    first = asyncio.create_task(batcher.submit(1))
    await eventually(lambda: lane.calls)
    late = asyncio.create_task(batcher.submit(2))
    loop = asyncio.get_running_loop()
    until_s = loop.time() + 0.15
    await eventually(lambda: loop.time() > until_s)

    lane.open.set()

    assert await first == 10
    with pytest.raises(StoreOverloaded, match="overloaded"):
        await late
    assert (batcher.shed, batcher.down) == (1, None)
    assert await batcher.submit(3) == 30
    await batcher.close()


async def test_closing_answers_everyone_who_still_waits(lane: HeldLane) -> None:
    batcher: Batcher[int, int] = Batcher([lane], deadline_s=30.0)
    await batcher.open()
    lane.open.clear()
    tasks = [asyncio.create_task(batcher.submit(i)) for i in range(40)]
    await eventually(lambda: lane.calls)

    await batcher.close()

    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)


async def test_a_second_call_goes_out_beside_the_first_only_when_it_is_full() -> None:
    lanes = [HeldLane(), HeldLane()]
    batcher: Batcher[int, int] = Batcher(lanes, deadline_s=30.0, max_batch=4, max_queue=20)
    await batcher.open()
    for lane in lanes:
        lane.open.clear()

    tasks = [asyncio.create_task(batcher.submit(0))]
    await eventually(lambda: any(lane.calls for lane in lanes))
    tasks += [asyncio.create_task(batcher.submit(i)) for i in range(1, 4)]
    await asyncio.sleep(0)
    before = sum(len(lane.calls) for lane in lanes)
    tasks += [asyncio.create_task(batcher.submit(i)) for i in range(4, 6)]
    await eventually(lambda: sum(len(lane.calls) for lane in lanes) == 2)
    for lane in lanes:
        lane.open.set()

    assert await asyncio.gather(*tasks) == [10 * i for i in range(6)]
    await batcher.close()
    assert before == 1
    assert sorted(call for lane in lanes for call in lane.calls) == [[0], [1, 2, 3, 4], [5]]


async def test_what_comes_together_is_answered_together_and_split_where_it_exceeds_a_batch(
    lane: HeldLane, batcher: Batcher[int, int]
) -> None:
    assert await batcher.submit_all([1, 2, 3, 4, 5]) == [10, 20, 30, 40, 50]
    assert lane.calls == [[1, 2, 3, 4], [5]]


async def test_of_items_that_came_together_only_the_one_that_cannot_be_sent_fails(
    batcher: Batcher[int, int],
) -> None:
    first, second, third = await batcher.submit_all([1, -2, 3])

    assert (first, third) == (10, 30)
    assert isinstance(second, ValueError)


async def test_of_many_at_once_exactly_what_exceeds_the_queue_is_shed(
    lane: HeldLane, batcher: Batcher[int, int]
) -> None:
    lane.open.clear()
    submitted = asyncio.create_task(batcher.submit_all(list(range(11))))
    await eventually(lambda: lane.calls)
    lane.open.set()

    answers = await submitted

    assert answers[:8] == [10 * i for i in range(8)]
    assert [isinstance(answer, StoreOverloaded) for answer in answers[8:]] == [True] * 3
    assert (batcher.shed, batcher.down) == (3, None)


class SlowLane(HeldLane):
    """Cannot read a batch, and takes 100 ms for one item."""

    def __init__(self) -> None:
        super().__init__()
        self.given_s: list[float] = []

    async def call(self, items: Sequence[int], within_s: float) -> list[int]:
        self.calls.append(list(items))
        self.given_s.append(within_s)
        if len(items) > 1:
            raise ValueError("a batch that cannot be read")
        until_s = asyncio.get_running_loop().time() + 0.1
        await eventually(lambda: asyncio.get_running_loop().time() >= until_s)
        return [10 * item for item in items]


async def test_items_that_are_sent_singly_share_the_deadline_of_their_batch_and_the_rest_is_shed() -> None:
    lane = SlowLane()
    batcher: Batcher[int, int] = Batcher([lane], deadline_s=0.4, max_batch=8)
    await batcher.open()

    answers = await batcher.submit_all(list(range(8)))

    await batcher.close()
    answered = len(lane.calls) - 1
    assert 1 <= answered <= 4
    assert answers[:answered] == [10 * i for i in range(answered)]
    assert all(isinstance(answer, StoreOverloaded) for answer in answers[answered:])
    assert all(0 < later <= earlier - 0.09 for earlier, later in pairwise(lane.given_s[1:]))
    assert batcher.shed == 8 - answered


@pytest.fixture
async def ranked(lane: HeldLane) -> AsyncIterator[Batcher[int, int]]:
    """Four items wait at most; the rank of an item is its hundreds."""
    batcher: Batcher[int, int] = Batcher([lane], 30.0, max_batch=2, max_queue=4, rank=lambda item: item // 100)
    await batcher.open()
    yield batcher
    await batcher.close()


async def waiting(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    """Submit each item after the one before it."""
    tasks = []
    for item in items:
        tasks.append(asyncio.create_task(batcher.submit(item)))
        await asyncio.sleep(0)
    return tasks


async def test_in_a_full_queue_the_newest_of_the_lowest_rank_gives_way_to_a_higher(
    lane: HeldLane, ranked: Batcher[int, int]
) -> None:
    lane.open.clear()
    under_way = await waiting(ranked, 1)
    low = await waiting(ranked, 10, 110, 11, 12)
    high = await waiting(ranked, 200, 111)
    lane.open.set()

    answers = await asyncio.gather(*under_way, *low, *high, return_exceptions=True)

    assert [isinstance(answer, StoreOverloaded) for answer in answers] == [
        False,
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert lane.calls[1:] == [[200, 110], [111, 10]]
    assert ranked.shed == 2


async def test_an_item_that_outranks_none_of_those_that_wait_is_shed_itself(
    lane: HeldLane, ranked: Batcher[int, int]
) -> None:
    lane.open.clear()
    tasks = await waiting(ranked, 1, 100, 101, 102, 103, 104, 5)
    lane.open.set()

    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert [
        item
        for item, answer in zip((1, 100, 101, 102, 103, 104, 5), answers, strict=True)
        if not isinstance(answer, int)
    ] == [104, 5]


async def test_of_many_ranks_at_once_exactly_the_lowest_are_shed(lane: HeldLane) -> None:
    batcher: Batcher[int, int] = Batcher([lane], 30.0, max_batch=2, max_queue=20, rank=lambda item: item // 100)
    await batcher.open()
    lane.open.clear()
    first = await waiting(batcher, 1)
    items = [100 * rank + n for n in range(20) for rank in (2, 0, 3, 1)]
    tasks = await waiting(batcher, *items)
    lane.open.set()

    answers = await asyncio.gather(*first, *tasks, return_exceptions=True)
    await batcher.close()

    answered = [item for item, answer in zip(items, answers[1:], strict=True) if isinstance(answer, int)]
    assert sorted(answered) == [300 + n for n in range(20)]
    assert batcher.shed == 60


async def test_what_waits_behind_higher_ranks_is_shed_after_half_its_deadline_too() -> None:
    class Filling(HeldLane):
        """During each call a full batch of a higher rank arrives."""

        async def call(self, items: Sequence[int], within_s: float) -> list[int]:
            higher.append(asyncio.create_task(batcher.submit_all([2, 2])))
            await asyncio.sleep(0)
            return await super().call(items, within_s)

    higher: list[asyncio.Task[list[int | Exception]]] = []
    batcher: Batcher[int, int] = Batcher([Filling()], 0.05, max_batch=2, rank=lambda item: item)
    await batcher.open()
    first = asyncio.create_task(batcher.submit_all([2, 2]))
    await asyncio.sleep(0)

    with pytest.raises(StoreOverloaded):
        async with asyncio.timeout(10.0):
            await batcher.submit(1)

    await batcher.close()
    await asyncio.gather(first, *higher, return_exceptions=True)
