"""How soon a pause is in force at 300 followers of one Redis: 40 gates' worth of the real watch, the others light.

All followers live in one process, so the figure holds the time that they take from each other; a light one subscribes,
reads the message and notes the time. A watch counts from the write until its check decides by the pause.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from gate.app.check import Check
from gate.app.watch import Watch
from gate.core.pause.board import Board, merge
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.pseudonym import Pseudonyms
from gate.errors import StoreUnavailable
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.ports.boards import Acknowledgement
from gate.serve.clock import SystemClock
from gate.stores.disk.break_glass import BreakGlassFile
from gate.stores.disk.snapshot import BoardSnapshot
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.boards import RedisBoardStore
from gate.stores.redis.connections.line import Line
from tests.bench.report import BenchError, Spec
from tests.bench.stage import Stage

WATCHES = 40
LIGHT = 260
PAUSES_A_ROUND = 10
WITHIN_S = 20.0

_FLIP = Spec("pause written to in force, 300 followers, p99", "ms", 100, 25)
SPECS = (_FLIP,)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """The p99 over all followers and pauses of each round. Raises BenchError."""
    return {_FLIP: asyncio.run(_rounds(stage, rounds))}


async def _rounds(stage: Stage, rounds: int) -> list[float]:
    url, prefix = stage.redis().url, f"{stage.fresh('followers')}:"
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        checks = [await _watching(stack, url, prefix, home, number) for number in range(WATCHES)]
        heard: list[list[float]] = [[] for _ in range(LIGHT)]
        for times in heard:
            task = asyncio.create_task(_listen(url, f"{prefix}board:changes", times))
            stack.push_async_callback(_cancelled, task)
        store = RedisBoardStore(url, prefix, deadline_s=5.0)
        stack.push_async_callback(store.close)
        await asyncio.sleep(3.0)
        found = []
        for turn in range(rounds):
            stage.say(f"followers: {turn + 1} of {rounds}")
            found.append(await _p99(store, checks, heard, turn))
        return found


class TimedCheck(Check):
    """Notes when each pause came into force."""

    def __init__(self, *parts: object) -> None:
        self.since: dict[str, float] = {}
        super().__init__(*parts)  # type: ignore[arg-type]

    @property
    def board(self) -> Board:
        """See Check."""
        return self._board

    @board.setter
    def board(self, board: Board) -> None:
        Check.board.__set__(self, board)  # type: ignore[attr-defined]
        for id_ in board.pauses:
            self.since.setdefault(id_, time.perf_counter())


async def _p99(store: RedisBoardStore, checks: list[TimedCheck], heard: list[list[float]], turn: int) -> float:
    took: list[float] = []
    for number in range(PAUSES_A_ROUND):
        id_, known = f"p-{turn}-{number}", await store.read()
        now_us = await store.now_us()
        pause = Pause(
            id_,
            known.rev + 1,
            Scope(),
            Action.REVIEW,
            "drill",
            "",
            "bench",
            None,
            now_us + 60_000_000,
            set_at_us=now_us,
        )
        for times in heard:
            times.clear()
        began_s = time.perf_counter()
        await store.replace(known.rev, merge(known, Board({id_: pause})))
        await _all_heard(heard, checks, id_)
        took += [check.since[id_] - began_s for check in checks]
        took += [times[0] - began_s for times in heard]
        await asyncio.sleep(0.3)
    return sorted(took)[int(len(took) * 0.99)] * 1e3


async def _all_heard(heard: list[list[float]], checks: list[TimedCheck], id_: str) -> None:
    until_s = time.perf_counter() + WITHIN_S
    while any(not times for times in heard) or any(id_ not in check.since for check in checks):
        if time.perf_counter() > until_s:
            raise BenchError("not every follower heard the pause")
        await asyncio.sleep(0.02)


async def _watching(stack: AsyncExitStack, url: str, prefix: str, home: Path, number: int) -> TimedCheck:
    clock = SystemClock()
    check = TimedCheck(
        load_policy(None),
        MemoryAccountStore(clock),
        clock,
        Pseudonyms(b"s"),
        Counts(),
        time.perf_counter_ns,
        LocalBuckets,
    )
    store = RedisBoardStore(url, prefix)
    said = Acknowledgement(f"g-{number}", "http://g", 0, 0, boot="b")
    snapshot, glass = BoardSnapshot(home / f"{number}" / "board.json"), BreakGlassFile(home / "none")
    watch = Watch(check, store, clock, said, snapshot, glass, lambda *_: None)
    task = asyncio.create_task(watch.run())
    stack.push_async_callback(store.close)
    stack.push_async_callback(_cancelled, task)
    return check


async def _listen(url: str, channel: str, times: list[float]) -> None:
    line = Line(url)
    try:
        await line.execute(b"SUBSCRIBE", channel, within_s=5.0)
        while True:
            with suppress(StoreUnavailable):
                message = await line.listen(3_600.0)
                if isinstance(message, list) and message[0] == b"message":
                    times.append(time.perf_counter())
    finally:
        await line.close()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
