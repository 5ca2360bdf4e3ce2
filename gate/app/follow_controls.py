"""Follows the second channel of the kill switch: the gate obeys the pauses in it and writes those that it lacks.

Either channel alone is enough: every gate obeys a pause that arrives by one channel, and copies it to the other. Where its
user of Kafka may only read the pauses, a keeper copies them in its place. A gate
writes its acknowledgement to this channel once a second and reads it back, which proves that the channel works. If it
reads none for three seconds, it logs that the channel is stale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from gate.app.watch import Watch
from gate.core.pause.board import Board, forget_ended, merge, without_superseded
from gate.errors import AccessRefused, StateUnreadable, StoreUnavailable
from gate.ports.boards import LATELY_US, BoardStore

BEAT_S: Final = 1.0
STALE_AFTER_S: Final = 3.0
HEARD_WITHIN_US: Final = 30_000_000
REFUSED_FOR_S: Final = 30.0
"""How long a gate waits before it tries again to write pauses that its access lists forbid."""


class FollowControls:
    """Follows `store` for `watch`. `run` ends only when it is cancelled. `draw` returns a number in [0, 1), for jitter."""

    def __init__(
        self,
        watch: Watch,
        store: BoardStore,
        say: Callable[[str], None],
        draw: Callable[[], float],
        fault: Callable[[], None],
    ) -> None:
        self._watch = watch
        self._store = store
        self._say = say
        self._draw = draw
        self._fault = fault
        self._beaten_s: float | None = None
        self._sent_us: int | None = None
        self._began_s = 0.0
        self._stale = False
        self._writes_again_s = 0.0
        self._told_refused = False
        self._now_s: Callable[[], float] = lambda: 0.0

    def age_s(self) -> float:
        """Seconds since the channel last proved to be alive, or since the gate began to listen."""
        since_s = self._began_s if self._beaten_s is None else self._beaten_s
        return max(0.0, self._now_s() - since_s)

    async def run(self) -> None:
        """Read the channel and write acknowledgements, concurrently, until cancelled."""
        self._now_s = asyncio.get_running_loop().time
        self._began_s = self._now_s()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._for_ever(self._follow), name="controls follow")
            tasks.create_task(self._for_ever(self._beat), name="controls beat")

    async def leave(self) -> None:
        """Write that this gate stops. Does not wait for a channel that is away."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(BEAT_S):
                await self._store.acknowledge(self._watch.acknowledgement(left=True))

    async def _for_ever(self, step: Callable[[], object]) -> None:
        while True:
            try:
                await step()  # type: ignore[misc]
            except (StoreUnavailable, TimeoutError, StateUnreadable) as error:
                self._look(str(error) or "no answer in time")
            except Exception as error:
                # the follower is an edge: it counts and logs an unexpected error, and goes on following
                self._fault()
                self._look(f"{type(error).__name__}: {error}")
            await asyncio.sleep(BEAT_S * (0.8 + 0.4 * self._draw()))

    async def _follow(self) -> None:
        async for board in self._store.changes():
            await self._watch.hear_elsewhere(board)
            await self._acknowledge()

    async def _beat(self) -> None:
        known = await self._store.read()
        await self._watch.hear_elsewhere(known)
        await self._copy(known)
        await self._listen_for_own()
        await self._acknowledge()
        self._look("its own acknowledgements do not come back")

    async def _acknowledge(self) -> None:
        before_us = self._watch.now_us()
        self._sent_us = await self._store.acknowledge(self._watch.acknowledgement())
        others_say_us = 0 if self._watch.has_met_store else await self._others_say_us()
        self._watch.learn_clock_elsewhere(self._sent_us, before_us, others_say_us)

    async def _others_say_us(self) -> int:
        """How far this channel's clock is ahead of the store's, by the other gates that acknowledged in it lately."""
        own, gates = self._watch.acknowledgement().process, await self._store.gates(LATELY_US)
        others = tuple(said for said in gates.acknowledgements if said.process != own)
        return -replace(gates, acknowledgements=others).pause_clock_ahead_us

    async def _listen_for_own(self) -> None:
        """Note that the channel lives if the last acknowledgement came back."""
        own = self._watch.acknowledgement().process
        heard = (await self._store.gates(HEARD_WITHIN_US, own)).acknowledgements
        if self._sent_us is None or not any(said.acknowledged_at_us >= self._sent_us for said in heard):
            return
        self._beaten_s = self._now_s()
        self._watch.heard_all_elsewhere()
        if self._stale:
            self._stale = False
            self._say("Kafka, the second channel of the kill switch, answers again")

    async def _copy(self, known: Board) -> None:
        """Write the pauses that the channel lacks. If this gate may not write them, it still acknowledges."""
        if self._now_s() < self._writes_again_s:
            return
        try:
            await self._write_missing(known)
        except AccessRefused as error:
            self._writes_again_s = self._now_s() + REFUSED_FOR_S
            if not self._told_refused:
                self._told_refused = True
                self._say(f"this gate cannot copy pauses to Kafka ({error}); another gate or a keeper copies them")

    async def _write_missing(self, known: Board) -> None:
        """Write the pauses that this gate knows and the channel does not, or would lose, with a jitter that keeps most gates
        from it."""
        now_us = self._watch.store_now_us()
        ours = forget_ended(merge(known, without_superseded(self._watch.board)), now_us)
        lacking = {id_ for id_, pause in ours.pauses.items() if known.pauses.get(id_) != pause}
        if lacking:
            await self._store.replace(known.rev, merge(known, ours))
        await self._store.repair(ours)

    def _look(self, why: str) -> None:
        if not self._stale and self.age_s() > STALE_AFTER_S:
            self._stale = True
            self._say(
                f"Kafka, the second channel of the kill switch, is stale ({why}); pauses still arrive through Redis"
            )
