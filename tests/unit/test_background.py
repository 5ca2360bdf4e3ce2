"""Work beside the checks goes on after an error that nobody expected."""

from __future__ import annotations

import asyncio

import pytest

from gate.serve.background import in_background
from tests.waiting import eventually


async def test_work_that_fails_is_logged_and_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    begun = 0
    went_on = asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise RuntimeError(f"broken for the time {begun}")
        went_on.set()
        await asyncio.Event().wait()

    async with in_background(work, "board watch", again_after_s=0.001):
        await asyncio.wait_for(went_on.wait(), 10)

    assert begun == 3
    said = [record.getMessage() for record in caplog.records]
    assert said == ["unexpected error in the background (board watch); it begins again in 0.001 s"] * 2
    assert all(record.exc_info for record in caplog.records)


async def test_work_that_is_done_does_not_begin_again_and_the_end_cancels_what_goes_on() -> None:
    begun: list[str] = []
    cancelled = asyncio.Event()

    async def short() -> None:
        begun.append("short")

    async def long() -> None:
        begun.append("long")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with in_background(short, "short", again_after_s=0.0), in_background(long, "long"):
        assert await eventually(lambda: len(begun) == 2)

    assert cancelled.is_set()
    assert begun == ["short", "long"]
