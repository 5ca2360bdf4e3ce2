"""Sends the items of many callers in few calls: the items that arrive during a call are sent as the next batch.

There is no timer: a lone check is sent at once, and under load each call carries the items that have arrived meanwhile,
up to `max_batch`. A lane carries one call at a time, and a second lane is used only for a full batch: the server works
on one call at a time as well, and few large calls cost both sides less than many small ones.

Overload sheds the lowest ranks first: an item that is shed fails with StoreOverloaded and is never sent. Items of a higher rank
are sent first. Where the queue is full, the newest item of the lowest rank is shed, be it the one that arrives. So is an item
that has waited for half its deadline.

It contains a circuit breaker. When a lane fails, the breaker opens: nothing is sent, and every check fails at once,
until a probe on that lane is answered. The lane probes with growing pauses, one probe at a time, with or without
traffic. Overload is not an outage: an item that is shed never opens the breaker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from gate.errors import StoreOverloaded, StoreUnavailable
from gate.stores.redis.lane import Ended, Lane, PromptLane
from gate.stores.redis.prompt_future import PromptFuture

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0

A = TypeVar("A")
R = TypeVar("R")

_Waiting = tuple[Sequence[A], PromptFuture, float, bool]
"""Items that were submitted together, the future of their answers, the time of their arrival (loop's time, s), and whether it
is one item, whose future has the answer itself."""


class _Worker(Generic[A, R]):
    """One lane, and the task that does what takes more than one call in turn: repetitions, and recovery after a failure."""

    def __init__(self, lane: Lane[A, R], loop: asyncio.AbstractEventLoop) -> None:
        self.lane = lane
        self.begin = lane.begin if isinstance(lane, PromptLane) else None
        self.wake: asyncio.Future[_Work[A, R]] = loop.create_future()
        """Gets the next work of the task."""
        self.sent: list[_Waiting[A]] = []
        """The batch that is under way."""


_Work = tuple[list[_Waiting[A]], float, Callable[[], Awaitable[Sequence[R | Exception]]] | None] | None
"""A batch, its deadline (loop's time, s), and what is left of a call that was begun; None: whatever is due."""


class Batcher(Generic[A, R]):
    """Sends items over lanes in batches. `deadline_s` bounds each item's wait, call and repetitions together."""

    def __init__(
        self,
        lanes: Sequence[Lane[A, R]],
        deadline_s: float,
        max_batch: int = 32,
        max_queue: int = 1024,
        rank: Callable[[A], int] = lambda item: 0,
    ) -> None:
        self.shed = 0
        self._lanes = lanes
        self.deadline_s = deadline_s
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._rank = rank
        self._queues: dict[int, deque[_Waiting[A]]] = {}
        self._ranks: list[int] = []
        """The ranks that have a queue, the highest first."""
        self._queued = 0
        self._under_way = 0
        self._idle: list[_Worker[A, R]] = []
        self._workers: list[_Worker[A, R]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop
        self._down: str | None = "the store is not open"

    @property
    def down(self) -> str | None:
        """The reason why every item fails at once; None while the server answers."""
        return self._down

    async def open(self) -> None:
        """Connect and start. Returns even if the server does not answer; the breaker is open then."""
        self._down = None
        self._loop = asyncio.get_running_loop()  # kept, because each look-up costs a system call
        for lane in self._lanes:
            sick = False
            if self._down is None:
                try:
                    await lane.probe(self.deadline_s)
                except StoreUnavailable as error:
                    self._down, sick = error.problem, True
            worker = _Worker(lane, self._loop)
            self._workers.append(worker)
            self._tasks.append(asyncio.create_task(self._work(worker, sick)))

    async def close(self) -> None:
        """Stop; every item that still waits gets StoreUnavailable."""
        self._down = "the store is closed"
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._idle.clear()
        for worker in self._workers:
            sent, worker.sent = worker.sent, []
            _fail(sent, StoreUnavailable, self._down, may_have_run=True)
        self._workers.clear()
        self._fail_queue()

    async def submit(self, item: A) -> R:
        """The answer to `item`. Raises StoreUnavailable, at once while the breaker is open, and StoreOverloaded.

        If the caller is cancelled, an item that still waits is withdrawn; an item that was sent is carried out.
        """
        answer: R = await self._enqueue((item,), is_one=True)
        return answer

    async def submit_all(self, items: Sequence[A]) -> list[R | Exception]:
        """`submit` for each item, concurrently. Returns, in their order, the answer or the error of each."""
        pieces = [items[start : start + self._max_batch] for start in range(0, len(items), self._max_batch)]
        waiting: list[PromptFuture | list[R | Exception]] = []
        for piece in pieces:
            try:
                waiting.append(self._enqueue(piece))
            except (StoreUnavailable, StoreOverloaded) as error:
                waiting.append([error for _ in piece])
        try:
            answers = [each if isinstance(each, list) else await each for each in waiting]
        except asyncio.CancelledError:
            for each in waiting:
                if isinstance(each, PromptFuture):
                    each.cancel()
            raise
        return answers[0] if len(answers) == 1 else [answer for piece in answers for answer in piece]

    def _enqueue(self, items: Sequence[A], is_one: bool = False) -> PromptFuture:
        if self._down is not None:
            raise StoreUnavailable(self._down)
        count = len(items)
        rank = self._rank(items[0]) if count == 1 else max(map(self._rank, items))
        while self._queued + count > self._max_queue:
            if not self._shed_below(rank):
                self.shed += count
                raise StoreOverloaded(f"overloaded: {self._queued} checks wait already")
        queue = self._queues.get(rank)
        if queue is None:
            queue = self._queues[rank] = deque()
            self._ranks = sorted(self._queues, reverse=True)
        loop = self._loop
        answers = PromptFuture(loop)
        queue.append((items, answers, loop.time(), is_one))
        self._queued += count
        if self._idle and self._is_due():
            self._under_way += 1  # counted now, or the next item of this turn would wake another lane in vain
            worker = self._idle.pop()
            if worker.begin is None:
                worker.wake.set_result(None)
            else:
                loop.call_soon(self._begin, worker)  # with the other items of this turn
        return answers

    def _shed_below(self, rank: int) -> bool:
        """Shed what came last among the lowest rank that waits. Returns False if that is not below `rank`."""
        lowest = next((each for each in reversed(self._ranks) if self._queues[each]), rank)
        if lowest >= rank:
            return False
        waiting = self._queues[lowest].pop()
        self._queued -= len(waiting[0])
        self.shed += len(waiting[0])
        _fail([waiting], StoreOverloaded, "overloaded: a check of a higher class took its place")
        return True

    def _is_due(self) -> bool:
        """Whether to start one more call now. Otherwise the queued items wait for the end of a call under way."""
        return self._queued >= self._max_batch or (self._queued > 0 and not self._under_way)

    def _begin(self, worker: _Worker[A, R]) -> None:
        """Send the next batch on a lane, or leave it idle if nothing waits any more."""
        assert worker.begin is not None
        batch, until_s = self._next(self._loop.time())
        if not batch:
            self._end(worker)
            return
        worker.sent = batch
        try:
            has_begun = worker.begin(_items(batch), until_s, partial(self._ended, worker, batch, until_s))
        except Exception:  # `call` meets it again, and the items get it
            has_begun = False
        if not has_begun:
            worker.wake.set_result((batch, until_s, None))

    def _ended(self, worker: _Worker[A, R], batch: list[_Waiting[A]], until_s: float, found: Ended[R]) -> None:
        """Answer a batch that was begun. While more waits it is sent first, and the callers go on a turn later."""
        if worker.sent is not batch:  # closed meanwhile
            return
        if not isinstance(found, Sequence):
            worker.wake.set_result((batch, until_s, found))
            return
        self._end(worker)
        _answer(batch, found, at_once=not worker.sent)

    def _end(self, worker: _Worker[A, R]) -> None:
        """A call has ended: begin the next one if it is due."""
        worker.sent = []
        if self._queued < self._max_batch and (not self._queued or self._under_way > 1):
            self._under_way -= 1
            self._idle.append(worker)
        elif worker.begin is not None:
            self._begin(worker)
        else:
            worker.wake.set_result(None)

    async def _work(self, worker: _Worker[A, R], sick: bool) -> None:
        loop = self._loop
        if sick:
            await self._recover(worker.lane)
        self._under_way += 1
        self._end(worker)
        while True:
            work = await worker.wake
            worker.wake = loop.create_future()
            rest = None
            if work is None:
                batch, until_s = self._next(loop.time())
            else:
                batch, until_s, rest = work
            if batch and await self._send(worker, batch, until_s, rest):
                worker.sent = []
                self._under_way -= 1
                await self._recover(worker.lane)
                self._under_way += 1
            self._end(worker)

    def _next(self, now_s: float) -> tuple[list[_Waiting[A]], float]:
        """The next batch and its deadline (loop's time, s), after what has waited for too long is shed."""
        self._shed_late(now_s)
        batch: list[_Waiting[A]] = []
        size = 0
        oldest_s = now_s
        for queue in map(self._queues.__getitem__, self._ranks):
            while queue and size + len(queue[0][0]) <= self._max_batch:
                waiting = queue.popleft()
                items, answers, since_s, _ = waiting
                self._queued -= len(items)
                if answers.done():
                    continue
                oldest_s = min(oldest_s, since_s)
                size += len(items)
                batch.append(waiting)
            if queue:
                break
        return batch, oldest_s + self.deadline_s

    def _shed_late(self, now_s: float) -> None:
        """Shed items that have waited for half their deadline, also those whose turn has not come for the higher ranks."""
        for queue in self._queues.values():
            while queue and now_s - queue[0][2] > self.deadline_s / 2:
                waiting = queue.popleft()
                self._queued -= len(waiting[0])
                if not waiting[1].done():
                    self.shed += len(waiting[0])
                    _fail([waiting], StoreOverloaded, "overloaded: the check waited for half its deadline")

    async def _send(
        self, worker: _Worker[A, R], batch: list[_Waiting[A]], until_s: float,
        rest: Callable[[], Awaitable[Sequence[R | Exception]]] | None,
    ) -> bool:  # fmt: skip
        """Send a batch, or do the rest of its call, and answer it. Returns True if that opened the breaker, which this lane
        must close again."""
        lane, items = worker.lane, _items(batch)
        try:
            found = [*await (lane.call(items, until_s - self._loop.time()) if rest is None else rest())]
        except StoreUnavailable as error:
            _fail(batch, StoreUnavailable, error.problem, may_have_run=True)
            return self._break(error.problem)
        except asyncio.CancelledError:
            _fail(batch, StoreUnavailable, "the store is closed", may_have_run=True)
            raise
        except Exception as error:
            if len(items) > 1:
                return await self._send_singly(lane, batch, items, until_s)
            found = [error]
        _answer(batch, found)
        return False

    async def _send_singly(
        self, lane: Lane[A, R], batch: list[_Waiting[A]], items: Sequence[A], until_s: float
    ) -> bool:
        """Send each item by itself after a batch that could not be sent or read, so that only the faulty item fails.

        The items share the deadline of the batch; items that are not sent before it are shed.
        """
        found: list[R | Exception] = []
        opened = False
        for item in items:
            within_s = until_s - self._loop.time()
            if self._down is not None:
                found.append(StoreUnavailable(self._down))
                continue
            if within_s <= 0:
                self.shed += 1
                found.append(StoreOverloaded("overloaded: no time was left to send the check by itself"))
                continue
            try:
                found += await lane.call((item,), within_s)
            except StoreUnavailable as error:
                opened = self._break(error.problem) or opened
                error.may_have_run = True
                found.append(error)
            except asyncio.CancelledError:
                _fail(batch, StoreUnavailable, "the store is closed", may_have_run=True)
                raise
            except Exception as error:
                found.append(error)
        _answer(batch, found)
        return opened

    def _break(self, problem: str) -> bool:
        """Open the breaker. Returns False if it is open already; then another lane closes it."""
        if self._down is not None:
            return False
        self._down = problem
        self._fail_queue()
        return True

    async def _recover(self, lane: Lane[A, R]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                await lane.probe(max(self.deadline_s, FIRST_PAUSE_S))
            except Exception as error:  # of any kind, because only this task can close the breaker
                self._down = str(error)
            else:
                self._down = None
                return

    def _fail_queue(self) -> None:
        waiting = [each for queue in self._queues.values() for each in queue]
        for queue in self._queues.values():
            queue.clear()
        self._queued = 0
        _fail(waiting, StoreUnavailable, self._down or "the store is closed")


def _fail(
    batch: list[_Waiting[A]],
    kind: type[StoreUnavailable | StoreOverloaded],
    problem: str,
    *,
    may_have_run: bool = False,
) -> None:
    for items, answers, _, is_one in batch:
        if not answers.done():
            errors = [kind(problem) for _ in items]
            for error in errors if may_have_run else ():
                error.may_have_run = True  # type: ignore[union-attr]
            if is_one:
                answers.set_exception(errors[0])
            else:
                answers.set_result(errors)


def _items(batch: list[_Waiting[A]]) -> Sequence[A]:
    return batch[0][0] if len(batch) == 1 else [item for waiting in batch for item in waiting[0]]


def _answer(batch: list[_Waiting[A]], found: Sequence[R | Exception], *, at_once: bool = False) -> None:
    """Answer each caller, who goes on now or in the next turn of the event loop."""
    start = 0
    for items, answers, _, is_one in batch:
        set_result = answers.finish if at_once else answers.set_result
        if is_one:
            answer = found[start]
            start += 1
            if answers.done():
                continue
            if isinstance(answer, Exception):
                answers.set_exception(answer)
            else:
                set_result(answer)
            continue
        end = start + len(items)
        if not answers.done():
            set_result(found[start:end])
        start = end
