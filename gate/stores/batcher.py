"""Many callers, few calls: gathers what waits while a call is under way and sends it as the next one.

There is no timer: a lone check goes out at once, and under load each call carries what has gathered meanwhile, up to
`max_batch`. Lanes are used one call at a time. What does not fit into the queue is shed at once.

The breaker is part of it. When a lane fails, nothing is sent any more and every check fails at once, until that lane's
probe is answered; it probes with growing pauses, one probe at a time, whether there is traffic or not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from gate.errors import StoreUnavailable

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0

A = TypeVar("A")
R = TypeVar("R")
A_contra = TypeVar("A_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Lane(Protocol[A_contra, R_co]):
    """A way to the server that carries one call at a time."""

    async def call(self, items: Sequence[A_contra], within_s: float) -> Sequence[R_co]:
        """One answer for each item, in order. Raises StoreUnavailable where the server does not answer."""
        ...

    async def probe(self, within_s: float) -> None:
        """Return once the server answers. Raises StoreUnavailable."""
        ...


class Batcher(Generic[A, R]):
    """Hands items to lanes in batches. `deadline_s` bounds what one item may take, waiting included."""

    def __init__(
        self, lanes: Sequence[Lane[A, R]], deadline_s: float, max_batch: int = 32, max_queue: int = 1024
    ) -> None:
        self.shed = 0
        self._lanes = lanes
        self._deadline_s = deadline_s
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._queue: deque[tuple[A, asyncio.Future[R], float]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._workers: list[asyncio.Task[None]] = []
        self._down: str | None = "the store is not open"

    @property
    def down(self) -> str | None:
        """Why every item fails at once, None while the server answers."""
        return self._down

    async def open(self) -> None:
        """Connect and start. Returns also where the server does not answer; the breaker is open then."""
        self._down = None
        for lane in self._lanes:
            sick = False
            if self._down is None:
                try:
                    await lane.probe(self._deadline_s)
                except StoreUnavailable as error:
                    self._down, sick = error.problem, True
            self._workers.append(asyncio.create_task(self._work(lane, sick)))

    async def close(self) -> None:
        """Stop; whoever still waits gets StoreUnavailable."""
        self._down = "the store is closed"
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers.clear()
        self._idle.clear()
        self._fail_queue()

    async def submit(self, item: A) -> R:
        """The answer to `item`. Raises StoreUnavailable: at once where the server is down or the queue is full.

        A caller that gives up while its item waits has it withdrawn; one already on its way is carried out.
        """
        return await self.enqueue(item)

    def enqueue(self, item: A) -> asyncio.Future[R]:
        """`submit` for who asks many at once: the answer to come, without a task for each."""
        if self._down is not None:
            raise StoreUnavailable(self._down)
        if len(self._queue) >= self._max_queue:
            self.shed += 1
            raise StoreUnavailable(f"overloaded: {self._max_queue} checks wait already")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._queue.append((item, answer, loop.time()))
        while self._idle:
            wake = self._idle.pop()
            if not wake.done():
                wake.set_result(None)
                break
        return answer

    async def _work(self, lane: Lane[A, R], sick: bool) -> None:
        loop = asyncio.get_running_loop()
        if sick:
            await self._recover(lane)
        while True:
            while not self._queue:
                wake: asyncio.Future[None] = loop.create_future()
                self._idle.append(wake)
                await wake
            batch, within_s = self._next(loop.time())
            if batch and await self._send(lane, batch, within_s):
                await self._recover(lane)

    def _next(self, now_s: float) -> tuple[list[tuple[A, asyncio.Future[R]]], float]:
        """The next batch and how long it may take. What has waited for half its time is shed: it would be late."""
        batch: list[tuple[A, asyncio.Future[R]]] = []
        oldest_s = now_s
        while self._queue and len(batch) < self._max_batch:
            item, answer, since_s = self._queue.popleft()
            if answer.done():
                continue
            if now_s - since_s > self._deadline_s / 2:
                self.shed += 1
                answer.set_exception(StoreUnavailable("overloaded: the check waited for half its deadline"))
                continue
            oldest_s = min(oldest_s, since_s)
            batch.append((item, answer))
        return batch, self._deadline_s - (now_s - oldest_s)

    async def _send(self, lane: Lane[A, R], batch: list[tuple[A, asyncio.Future[R]]], within_s: float) -> bool:
        """Answer a batch. True where that opened the breaker, which is then this lane's to close."""
        try:
            answers = await lane.call([item for item, _ in batch], within_s)
        except StoreUnavailable as error:
            _fail(batch, error.problem)
            if self._down is not None:
                return False
            self._down = error.problem
            self._fail_queue()
            return True
        except asyncio.CancelledError:
            _fail(batch, "the store is closed")
            raise
        except Exception as error:
            return await self._send_singly(lane, batch, within_s, error)
        for (_, answer), value in zip(batch, answers, strict=True):
            if not answer.done():
                answer.set_result(value)
        return False

    async def _send_singly(
        self, lane: Lane[A, R], batch: list[tuple[A, asyncio.Future[R]]], within_s: float, error: Exception
    ) -> bool:
        """Something in one item cannot be sent or its answer not be read: only that one may suffer for it."""
        if len(batch) == 1:
            if not batch[0][1].done():
                batch[0][1].set_exception(error)
            return False
        opened = False
        for pair in batch:
            if self._down is not None:
                _fail([pair], self._down)
            else:
                opened = await self._send(lane, [pair], within_s) or opened
        return opened

    async def _recover(self, lane: Lane[A, R]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                await lane.probe(max(self._deadline_s, FIRST_PAUSE_S))
            except Exception as error:  # whatever it is, this task is the only one that can close the breaker
                self._down = str(error)
            else:
                self._down = None
                return

    def _fail_queue(self) -> None:
        waiting = [(item, answer) for item, answer, _ in self._queue]
        self._queue.clear()
        _fail(waiting, self._down or "the store is closed")


def _fail(batch: list[tuple[A, asyncio.Future[R]]], problem: str) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(StoreUnavailable(problem))
