"""Calls that go on in the turn of the event loop that reads a reply: the batcher, the future and the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from gate.errors import StoreUnavailable
from gate.stores.redis.batcher import Batcher
from gate.stores.redis.connections.line import Line
from gate.stores.redis.connections.script_call import Run
from gate.stores.redis.lane import Ended
from gate.stores.redis.prompt_future import PromptFuture
from tests.unit.test_line import SCRIPT, scripted_server
from tests.waiting import eventually


class HeldPromptLane:
    """Begins calls until the test ends them. `refuses` leaves calls to a task, which answers x with 10·x."""

    def __init__(self) -> None:
        self.begun: list[tuple[list[int], Callable[[Ended[int]], None]]] = []
        self.called: list[list[int]] = []
        self.refuses = False

    def begin(self, items: Sequence[int], until_s: float, ended: Callable[[Ended[int]], None]) -> bool:
        if not self.refuses:
            self.begun.append((list(items), ended))
        return not self.refuses

    async def call(self, items: Sequence[int], within_s: float) -> list[int]:
        self.called.append(list(items))
        return [10 * item for item in items]

    async def probe(self, within_s: float) -> None:
        return

    def end(self, number: int) -> None:
        items, ended = self.begun[number]
        ended([10 * item for item in items])


@pytest.fixture
def lane() -> HeldPromptLane:
    return HeldPromptLane()


@pytest.fixture
async def batcher(lane: HeldPromptLane) -> AsyncIterator[Batcher[int, int]]:
    batcher: Batcher[int, int] = Batcher([lane], deadline_s=30.0, max_batch=4, max_queue=8)
    await batcher.open()
    await asyncio.sleep(0)
    yield batcher
    await batcher.close()


class Caller:
    """Awaits an item without a task, and notes its answer."""

    def __init__(self, batcher: Batcher[int, int], item: int) -> None:
        self.answers: list[int] = []
        self._work = batcher.submit(item)
        self._awaited = self._work.send(None)
        assert isinstance(self._awaited, PromptFuture)
        self._awaited._asyncio_future_blocking = False
        self._awaited.add_prompt_callback(self._go_on)

    def _go_on(self, awaited: object) -> None:
        try:
            self._work.send(None)
        except StopIteration as end:
            self.answers.append(end.value)


async def test_items_of_one_turn_share_a_call_and_a_caller_goes_on_when_it_ends(
    lane: HeldPromptLane, batcher: Batcher[int, int]
) -> None:
    callers = [Caller(batcher, 1), Caller(batcher, 2)]
    await asyncio.sleep(0)

    lane.end(0)

    assert [items for items, _ in lane.begun] == [[1, 2]]
    assert [caller.answers for caller in callers] == [[10], [20]]
    assert lane.called == []


async def test_what_waits_is_sent_before_the_callers_of_the_call_before_go_on(
    lane: HeldPromptLane, batcher: Batcher[int, int]
) -> None:
    first = Caller(batcher, 1)
    await asyncio.sleep(0)
    second = Caller(batcher, 2)

    lane.end(0)

    assert ([items for items, _ in lane.begun], first.answers) == ([[1], [2]], [])
    lane.end(1)
    assert second.answers == [20]
    await asyncio.sleep(0)
    assert first.answers == [10]


async def test_a_call_that_the_lane_does_not_begin_is_carried_out_by_a_task(
    lane: HeldPromptLane, batcher: Batcher[int, int]
) -> None:
    lane.refuses = True

    assert await asyncio.gather(batcher.submit(1), batcher.submit(2)) == [10, 20]
    assert (lane.called, lane.begun) == ([[1, 2]], [])
    lane.refuses = False
    third = asyncio.create_task(batcher.submit(3))
    await eventually(lambda: lane.begun)
    lane.end(0)
    assert await third == 30


@pytest.mark.parametrize("fails", [False, True])
async def test_a_task_does_the_rest_of_a_call_that_was_begun(
    lane: HeldPromptLane, batcher: Batcher[int, int], fails: bool
) -> None:
    async def rest() -> Sequence[int]:
        if fails:
            raise StoreUnavailable("gone")
        return [7]

    asked = asyncio.create_task(batcher.submit(1))
    await eventually(lambda: lane.begun)

    lane.begun[0][1](rest)
    (answer,) = await asyncio.gather(asked, return_exceptions=True)

    if fails:
        assert isinstance(answer, StoreUnavailable)
        assert answer.may_have_run
        await eventually(lambda: batcher.down is None)
    else:
        assert answer == 7
    after = asyncio.create_task(batcher.submit(2))
    await eventually(lambda: len(lane.begun) == 2)
    lane.end(1)
    assert await after == 20


async def test_items_whose_call_cannot_be_read_are_sent_singly_within_their_deadline(
    lane: HeldPromptLane, batcher: Batcher[int, int]
) -> None:
    async def rest() -> Sequence[int]:
        raise ValueError("not a list")

    asked = [asyncio.create_task(batcher.submit(item)) for item in (1, 2)]
    await eventually(lambda: lane.begun)

    lane.begun[0][1](rest)

    assert await asyncio.gather(*asked) == [10, 20]
    assert lane.called == [[1], [2]]
    assert batcher.shed == 0


async def test_a_call_under_way_fails_when_the_store_closes_and_its_late_end_changes_nothing(
    lane: HeldPromptLane, batcher: Batcher[int, int]
) -> None:
    asked = asyncio.create_task(batcher.submit(1))
    await eventually(lambda: lane.begun)

    await batcher.close()
    lane.end(0)

    with pytest.raises(StoreUnavailable, match="closed") as error:
        await asked
    assert error.value.may_have_run


async def test_a_future_calls_its_prompt_callback_once_however_it_is_done() -> None:
    loop = asyncio.get_running_loop()
    at_once, later, cancelled, failing = (PromptFuture(loop) for _ in range(4))
    called: list[object] = []
    for future in (at_once, later, cancelled):
        future.add_prompt_callback(called.append)
    unexpected: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unexpected.append(context))
    failing.add_prompt_callback(lambda future: 1 // 0)

    at_once.finish(1)
    failing.finish(2)
    later.set_result(3)
    cancelled.cancel()

    assert called == [at_once]
    await asyncio.sleep(0)
    assert called == [at_once, later, cancelled]
    assert [type(context["exception"]) for context in unexpected] == [ZeroDivisionError]


async def begun(line: Line, within_s: float) -> tuple[object, object]:
    """What `begin` hands over, and what `end` makes of it."""
    loop = asyncio.get_running_loop()
    run, until_s, got = Run(SCRIPT, (), ()), loop.time() + within_s, loop.create_future()
    assert line.begin(run, until_s, got.set_result)
    reply = await got
    return reply, await line.end(run, reply, until_s)


async def test_a_reply_to_a_begun_script_is_handed_over_as_it_came() -> None:
    async with scripted_server(lambda verb: (0.0, b":7\r\n")) as (url, verbs):
        line = Line(url)
        is_closed = line.begin(Run(SCRIPT, (), ()), 1e9, print)
        await line.execute(b"PING", within_s=5.0)

        answers = [await begun(line, 5.0) for _ in range(3)]

        await line.close()

    assert not is_closed
    assert (answers, verbs) == ([(7, 7)] * 3, [b"EVALSHA"] * 3)


async def test_a_begun_script_that_the_server_has_lost_is_sent_with_its_source() -> None:
    def no_script(verb: bytes) -> tuple[float, bytes]:
        return 0.0, b":7\r\n" if verb == b"EVAL" else b"-NOSCRIPT No matching script\r\n"

    async with scripted_server(no_script) as (url, verbs):
        line = Line(url)
        await line.execute(b"PING", within_s=5.0)

        _, answer = await begun(line, 5.0)

        await line.close()

    assert (answer, verbs) == (7, [b"EVALSHA", b"EVAL"])


async def test_a_begun_script_without_a_reply_for_half_its_time_is_sent_once_more_on_a_new_connection() -> None:
    replies = iter([(0.0, b":1\r\n"), (0.0, None), (0.0, b":7\r\n")])
    async with scripted_server(lambda verb: next(replies)) as (url, verbs):
        line = Line(url)
        await line.execute(b"PING", within_s=5.0)
        await begun(line, 5.0)  # its timer would look too late at the next one

        reply, answer = await begun(line, 0.6)

        await line.close()

    assert isinstance(reply, TimeoutError)
    assert (answer, verbs) == (7, [b"EVALSHA"] * 3)


async def test_a_begun_script_whose_connection_breaks_is_told_so_at_once() -> None:
    async with scripted_server(lambda verb: (0.0, None)) as (url, verbs):
        line = Line(url)
        await line.execute(b"PING", within_s=5.0)
        got: list[object] = []
        line.begin(Run(SCRIPT, (), ()), asyncio.get_running_loop().time() + 30.0, got.append)
        await eventually(lambda: verbs)

        await line.close()
        await eventually(lambda: got)

    assert isinstance(got[0], Exception)
    assert not line.begin(Run(SCRIPT, (), ()), 1e9, got.append)
