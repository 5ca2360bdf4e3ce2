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
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from gate.errors import StoreOverloaded, StoreUnavailable

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0

A = TypeVar("A")
R = TypeVar("R")
A_contra = TypeVar("A_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Lane(Protocol[A_contra, R_co]):
    """A connection to the server that carries one call at a time."""

    async def call(self, items: Sequence[A_contra], within_s: float) -> Sequence[R_co | Exception]:
        """One answer or error for each item, in order. Raises StoreUnavailable if the server does not answer."""
        ...

    async def probe(self, within_s: float) -> None:
        """Return if the server does the work of a call for a probe. Raises StoreUnavailable."""
        ...


_Waiting = tuple[Sequence[A], "asyncio.Future[Any]", float, bool]
"""Items that were submitted together, the future of their answers, the time of their arrival (loop's time, s), and whether it
is one item, whose future has the answer itself."""


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
        self._idle: list[asyncio.Future[None]] = []
        self._workers: list[asyncio.Task[None]] = []
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
            self._workers.append(asyncio.create_task(self._work(lane, sick)))

    async def close(self) -> None:
        """Stop; every item that still waits gets StoreUnavailable."""
        self._down = "the store is closed"
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers.clear()
        self._idle.clear()
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
        waiting: list[asyncio.Future[list[R | Exception]] | list[R | Exception]] = []
        for piece in pieces:
            try:
                waiting.append(self._enqueue(piece))
            except (StoreUnavailable, StoreOverloaded) as error:
                waiting.append([error for _ in piece])
        try:
            answers = [each if isinstance(each, list) else await each for each in waiting]
        except asyncio.CancelledError:
            for each in waiting:
                if isinstance(each, asyncio.Future):
                    each.cancel()
            raise
        return answers[0] if len(answers) == 1 else [answer for piece in answers for answer in piece]

    def _enqueue(self, items: Sequence[A], is_one: bool = False) -> asyncio.Future[Any]:
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
        answers = loop.create_future()
        queue.append((items, answers, loop.time(), is_one))
        self._queued += count
        if self._idle and self._is_due():
            self._under_way += 1  # now, as otherwise the next item of this turn would wake another lane in vain
            self._idle.pop().set_result(None)
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

    async def _work(self, lane: Lane[A, R], sick: bool) -> None:
        loop = self._loop
        if sick:
            await self._recover(lane)
        while True:
            while not self._is_due():
                wake: asyncio.Future[None] = loop.create_future()
                self._idle.append(wake)
                await wake
                self._under_way -= 1
            batch, until_s = self._next(loop.time())
            if not batch:
                continue
            self._under_way += 1
            try:
                opened = await self._send(lane, batch, until_s)
            finally:
                self._under_way -= 1
            if opened:
                await self._recover(lane)

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

    async def _send(self, lane: Lane[A, R], batch: list[_Waiting[A]], until_s: float) -> bool:
        """Send a batch and answer it. Returns True if that opened the breaker, which this lane must close again."""
        items = batch[0][0] if len(batch) == 1 else [item for waiting in batch for item in waiting[0]]
        try:
            found = [*await lane.call(items, until_s - self._loop.time())]
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


def _answer(batch: list[_Waiting[A]], found: list[R | Exception]) -> None:
    start = 0
    for items, answers, _, is_one in batch:
        if is_one:
            answer = found[start]
            start += 1
            if answers.done():
                continue
            if isinstance(answer, Exception):
                answers.set_exception(answer)
            else:
                answers.set_result(answer)
            continue
        end = start + len(items)
        if not answers.done():
            answers.set_result(found[start:end])
        start = end
