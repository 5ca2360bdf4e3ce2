"""The work on one request runs without a task, and a cancel reaches it wherever it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gate.serve.hot.exchange import TEXT, Handling, HotRequest, Response
from tests.waiting import eventually

ANSWER: Response = (200, b"done", TEXT, b"")


class Work:
    """Waits for the awaitable that `wait` returns, then answers; keeps its request and how it ended."""

    def __init__(self, wait: Callable[[], Awaitable[object]]) -> None:
        self.request = HotRequest()
        self.got: list[tuple[HotRequest, Response]] = []
        self.ends: list[str] = []
        self._wait = wait
        self.handling = Handling(asyncio.get_running_loop(), self.request, self._run(), self._answered)
        self.handling.go_on()

    async def _run(self) -> Response:
        try:
            await self._wait()
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        self.ends.append("answered")
        return ANSWER

    def _answered(self, request: HotRequest, response: Response) -> None:
        self.got.append((request, response))


async def nothing() -> None:
    """Wait for nothing."""


async def test_work_that_waits_for_nothing_is_answered_at_once() -> None:
    work = Work(nothing)

    assert work.got == [(work.request, ANSWER)]


async def test_work_goes_on_when_its_future_is_there() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    work = Work(lambda: future)
    assert work.got == []

    future.set_result(None)

    await eventually(lambda: work.got)
    assert work.got == [(work.request, ANSWER)]


async def test_work_that_gives_way_to_others_goes_on_in_the_next_turn() -> None:
    work = Work(lambda: asyncio.sleep(0))

    assert work.got == []
    await eventually(lambda: work.got)


async def test_an_error_of_what_is_awaited_is_raised_where_the_work_waits() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        with pytest.raises(OSError, match="gone"):
            await future

    work = Work(wait)
    future.set_exception(OSError("gone"))

    await eventually(lambda: work.ends)
    assert work.ends == ["answered"]


async def test_a_cancel_is_raised_where_the_work_waits() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    work = Work(lambda: future)

    work.handling.cancel()

    await eventually(lambda: work.ends)
    assert (work.ends, work.got, future.cancelled()) == (["cancelled"], [], True)


async def test_a_cancel_is_raised_although_what_is_awaited_is_there_already() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    work = Work(lambda: future)
    future.set_result(None)

    work.handling.cancel()

    await eventually(lambda: work.ends)
    assert (work.ends, work.got) == (["cancelled"], [])


async def test_a_cancel_reaches_a_task_of_the_work() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ends: list[str] = []

    async def inner() -> None:
        try:
            async with asyncio.timeout(60):
                await never
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    work = Work(lambda: asyncio.create_task(inner()))
    await asyncio.sleep(0)

    work.handling.cancel()

    await eventually(lambda: work.ends)
    assert (ends, work.ends) == (["cancelled"], ["cancelled"])


async def test_a_cancel_after_the_answer_changes_nothing() -> None:
    work = Work(nothing)

    work.handling.cancel()

    assert (work.ends, work.got) == (["answered"], [(work.request, ANSWER)])
