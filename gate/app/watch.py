"""Keeps one gate's board fresh: by push, by poll, from the break-glass file on the host, from its own snapshot on disk.

If a source fails, the gate goes on deciding by the last board it knew. The age of that board is shown, but an old board
is never dropped. Two boards merge by revision, so the order in which they arrive does not matter. `board_in_force` puts
a board into force: it adopts it, keeps it on disk and acknowledges it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from operator import is_
from typing import Final

from gate.app.board_in_force import Acknowledger, BoardInForce, BoardKeeper, BoardProof
from gate.app.check import Check
from gate.app.count_gates import CountGates
from gate.app.obey_break_glass import ObeyBreakGlass
from gate.core.pause.board import Board, forget_ended, merge, without_superseded
from gate.errors import StateUnreadable, StoreUnavailable
from gate.ports.boards import Acknowledgement, BoardStore
from gate.ports.clock import Clock, Uptime
from gate.stores.disk.break_glass import BreakGlassFile
from gate.stores.disk.snapshot import BoardSnapshot

POLL_S: Final = 1.0
READ_DEADLINE_S: Final = 2.0
READ_FILE_SHARE: Final = 0.4
"""How often the break-glass file is read, in polls. A removal takes two reads, and with jitter both fit into one poll."""
PUSH_LASTED_S: Final = 10.0
"""Pushes that failed later than this after they began worked until then."""
PUSHES_FAILED: Final = 3
LEAVE_DEADLINE_S: Final = 1.0
FIRST_READ_S: Final = 0.5
UNACKNOWLEDGED: Final = 2
"""One failure may be the start of an outage, which the next read reports."""
MOST_TOLD: Final = 1_000


class Watch:
    """Updates `check.board`. `run` ends only when it is cancelled; `age_us` is the age of the last good read.

    `draw` returns a number in [0, 1): it spreads the polls of many gates.
    """

    def __init__(
        self, check: Check, store: BoardStore, clock: Clock, said: Acknowledgement, snapshot: BoardSnapshot,
        break_glass: BreakGlassFile, say: Callable[[str], None], poll_s: float = POLL_S,
        draw: Callable[[], float] = lambda: 0.5, uptime: Uptime | None = None,
    ) -> None:  # fmt: skip
        self._check = check
        self._store = store
        self._clock = clock
        self._snapshot = snapshot
        self._say = say
        self._poll_s = poll_s
        self._draw = draw
        self._in_force = BoardInForce(check, clock, uptime)
        self._break_glass = ObeyBreakGlass(break_glass, self._in_force, clock, say, self._count_unreadable)
        self._keeper = BoardKeeper(snapshot, say, self._count_fault, self._in_force.mark)
        self._acknowledger = Acknowledger(store, clock, said, check)
        self._count_gates = CountGates(check, store, self._acknowledger.is_twin, self._tell)
        self._settling = asyncio.Lock()
        self._fresh_us = clock.now_us()
        self._told: set[str] = set()
        self._passed_on: frozenset[bytes] = frozenset()
        self._written_back: tuple[Board, Board] | None = None
        self._document_unreadable = False
        self._down = False
        self._unacknowledged = 0
        self._pushes_failed = 0
        self._followed_s = 0.0
        self._started_from_disk = False
        self._first = asyncio.Event()
        self.ever_read = False
        self.on_disk = False

    @property
    def board(self) -> Board:
        """All known pauses, ended ones too. Times are by the store's clock, those of break-glass entries by ours."""
        return self._in_force.board

    @property
    def reachable(self) -> bool:
        """True while the board's store answers."""
        return self.ever_read and not self._down

    @property
    def acknowledges(self) -> bool:
        """False while the store returns the board and does not take this gate's acknowledgements of it."""
        return self._unacknowledged < UNACKNOWLEDGED

    @property
    def break_glass_problems(self) -> tuple[str, ...]:
        """Why the host's break-glass file is not obeyed, in whole or in part."""
        return self._break_glass.problems

    @property
    def unreadable_parts(self) -> int:
        """How many parts of the kill switch this gate cannot read now: the document in the store, entries of it that have not
        expired, the host's file or entries of that."""
        now_us = self.store_now_us()
        entries = sum(now_us < (entry.expires_at_us or 0) for entry in self.board.unreadable)
        return self._document_unreadable + entries + len(self.break_glass_problems)

    def age_us(self) -> int:
        """µs since the board was last read in full, pushed or by the second channel; before that, since the start."""
        return max(0, self._clock.now_us() - self._fresh_us)

    def store_now_us(self) -> int:
        """This gate's estimate of the store's clock now."""
        return self._in_force.store_now_us()

    @property
    def clock_known(self) -> bool:
        """False while the store's time may be later than this gate takes it for, so that pauses may last too long here."""
        return not self._in_force.store_clock.is_lower_bound

    @property
    def pauses_known(self) -> bool:
        """False until a server or the snapshot of the last run has told the pauses."""
        return self._in_force.is_known

    @property
    def has_met_store(self) -> bool:
        """True once the store has told its time in this run."""
        return self._in_force.store_clock.known

    def learn_clock_elsewhere(self, channel_us: int, before_us: int, others_say_us: int = 0) -> None:
        """Note the second channel's clock, told in a call that began at `before_us` of ours and has just ended.

        `others_say_us` is how far it is ahead of the store's clock by what other gates say.
        """
        self._in_force.store_clock.learn_elsewhere(channel_us, before_us, self._clock.now_us(), others_say_us)
        self._in_force.follow_clock()

    def heard_all_elsewhere(self) -> None:
        """Note that another channel proved just now that it has told all it holds."""
        self._fresh_us = self._clock.now_us()

    def now_us(self) -> int:
        """This gate's own clock."""
        return self._clock.now_us()

    def proof(self) -> BoardProof:
        """The proof of the board that is in force."""
        return self._in_force.proof()

    def acknowledgement(self, left: bool = False) -> Acknowledgement:
        """This gate's acknowledgement of the board in force, for another channel than the store's."""
        clock = self._in_force.store_clock
        return self._acknowledger.of(self.proof(), len(self.board.unreadable), self.on_disk, clock, left)

    async def hear_elsewhere(self, board: Board) -> None:
        """Obey a board that arrived by another channel, and keep it on disk. The store hears of it by the next poll."""
        self._first.set()
        if self._in_force.adopt(board):
            self._fresh_us = self._clock.now_us()
            self._tell_unreadable_entries()
        async with self._settling:
            self.on_disk = await self._keeper.keep(self.board)

    def start_from_disk(self) -> None:
        """Adopt the snapshot of the last run and the break-glass file. Call it before the first check. Never raises."""
        try:
            board = self._snapshot.read()
            if board is not None:
                self._started_from_disk = True
                self._in_force.adopt(board)
                self._start_clock()
        except (OSError, StateUnreadable) as error:
            self._count_unreadable()
            self._say(f"the snapshot of the pauses {self._snapshot.path} is not used: {error}; starting without it")
            if isinstance(error, StateUnreadable):
                with suppress(OSError):
                    self._snapshot.set_aside()
        self._break_glass.read()
        self._in_force.hold_unknown()

    def _start_clock(self) -> None:
        """Count the pauses' times by what the last run knew of the store's clock."""
        self._in_force.follow_steps()
        if self._snapshot.clock is not None:
            self._in_force.start_from(self._snapshot.clock)
        if not self.clock_known:
            self._say(
                "this gate has not read the clock of Redis since its machine started: until Redis answers, each pause of the "
                "snapshot lasts for the time that was left when the snapshot was written"
            )

    async def first_read(self) -> None:
        """Wait for the first board from the store, as long as a gate without a snapshot may wait before it decides."""
        if not self._started_from_disk:
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_READ_S):
                    await self._first.wait()
        if not self.pauses_known:
            mode = self._check.policy.pauses_unknown
            self._say(f"no server and no snapshot tells this gate the pauses; until one does: pauses_unknown = {mode}")

    async def run(self) -> None:
        """Listen, poll and read the host's file, concurrently, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._for_ever(self._follow, self._push_failed), name="board push")
            tasks.create_task(self._for_ever(self._poll, self._failed), name="board poll")
            tasks.create_task(
                self._for_ever(self._read_file, self._file_failed, READ_FILE_SHARE), name="break-glass file"
            )

    async def leave(self) -> None:
        """Write to the store that this gate stops, after `run` has ended. Does not wait for a store that is away."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_DEADLINE_S):
                await self._acknowledger.leave()

    async def _for_ever(
        self, step: Callable[[], Awaitable[None]], failed: Callable[[str], None], polls: float = 1.0
    ) -> None:
        while True:
            try:
                await step()
            except StoreUnavailable as error:
                failed(str(error))
            except TimeoutError:
                failed(f"no answer within {READ_DEADLINE_S:g} s")
            except Exception as error:
                # the watcher is an edge: it counts and logs an unexpected error, and goes on watching
                self._count_fault()
                failed(f"{type(error).__name__}: {error}")
            await asyncio.sleep(polls * self._poll_s * (0.8 + 0.4 * self._draw()))

    async def _follow(self) -> None:
        self._followed_s = asyncio.get_running_loop().time()
        async with aclosing(self._store.changes()) as changes:  # type: ignore[type-var]
            async for board in changes:
                self._heard(board)
                # the board is in force; if it cannot be acknowledged now, the next poll acknowledges it
                with suppress(StoreUnavailable, TimeoutError):
                    await self._keep_and_acknowledge()

    async def _read_file(self) -> None:
        self._in_force.follow_steps()
        await self._break_glass.read_beside()
        self._in_force.hold_unknown()

    async def _poll(self) -> None:
        try:
            async with asyncio.timeout(READ_DEADLINE_S):
                board = await self._store.read()
        except StateUnreadable as error:
            await self._written(self._repair(error))
        except (StoreUnavailable, TimeoutError):
            self._unacknowledged = 0
            async with self._settling:
                self.on_disk = await self._keeper.keep(self.board)
            raise
        else:
            self._told.discard("unreadable")
            self._document_unreadable = False
            self._heard(board)
            await self._written(self._write_back(board))
        try:
            await self._keep_and_acknowledge()
        except (StoreUnavailable, TimeoutError) as error:
            self._unacknowledged += 1
            if self._unacknowledged == UNACKNOWLEDGED:
                self._say(f"the pauses in force cannot be acknowledged: {error or 'no answer in time'}")
            return
        self._unacknowledged = 0
        async with asyncio.timeout(READ_DEADLINE_S):
            await self._count_gates.polled()

    async def _written(self, writing: Coroutine[None, None, None]) -> None:
        """Wait for `writing`. If it fails, the board in force is acknowledged all the same."""
        try:
            await writing
        except (StoreUnavailable, StateUnreadable, TimeoutError) as error:
            self._tell("write", f"the pauses cannot be written back: {error or 'no answer in time'}")
        else:
            self._told.discard("write")

    def _heard(self, board: Board) -> None:
        """Decide by a full board that arrived."""
        self._fresh_us = self._clock.now_us()
        self.ever_read = True
        self._first.set()
        if self._down:
            self._down = False
            self._say("Redis returns the pauses again")
        self._in_force.adopt(board)
        self._tell_unreadable_entries()

    async def _keep_and_acknowledge(self) -> None:
        """Write the board in force to disk, then acknowledge the same board. Raises StoreUnavailable, TimeoutError."""
        in_force = self._in_force
        async with self._settling:
            if not in_force.store_clock.known:
                # this gate must know a large difference of the clocks before it acknowledges
                async with asyncio.timeout(READ_DEADLINE_S):
                    await self._acknowledger.learn_clock(in_force.store_clock)
                in_force.follow_clock()
            board, proof = self.board, in_force.proof()
            self.on_disk = await self._keeper.keep(board)
            async with asyncio.timeout(READ_DEADLINE_S):
                await self._acknowledger.acknowledge(
                    proof, len(board.unreadable), self.on_disk, in_force.store_clock
                )  # fmt: skip
            in_force.follow_clock()

    async def _write_back(self, stored: Board) -> None:
        """Write the gate's board to a store that lost pauses in a failover or a restore, once its clock is known."""
        if not self._in_force.store_clock.known:
            return
        compared = (stored, self.board)
        if self._written_back is not None and all(map(is_, compared, self._written_back)):
            return  # neither has changed since they were compared
        now_us = self.store_now_us()
        ours = forget_ended(merge(stored, without_superseded(self.board)), now_us)
        known = forget_ended(stored, now_us)
        if (ours.pauses, ours.unreadable) == (known.pauses, known.unreadable):
            self._written_back = compared
            return
        async with asyncio.timeout(READ_DEADLINE_S):
            if await self._store.replace(stored.rev, ours):
                self._say(f"Redis had lost pauses; this gate has written revision {ours.rev} back")

    async def _repair(self, error: StateUnreadable) -> None:
        """Replace a stored document that cannot be read by the last good board. Raises StoreUnavailable."""
        self._document_unreadable = True
        self._count_unreadable()
        self._tell("unreadable", f"the pauses in Redis cannot be read, and this gate keeps the last good ones: {error}")
        if not (self.ever_read or self._started_from_disk or self.board.rev):
            return  # this gate knows no good board: another gate must repair it
        async with asyncio.timeout(READ_DEADLINE_S):
            if await self._store.repair(self.board):
                self._say(
                    f"the pauses in Redis are replaced by revision {self.board.rev} of this gate; the former bytes are set aside"
                )

    def _tell_unreadable_entries(self) -> None:
        entries = {entry.raw: entry for entry in self.board.unreadable}
        for raw in entries.keys() - self._passed_on:
            entry = entries[raw]
            self._count_unreadable()
            self._say(f"pause {entry.id} cannot be read, and this gate does not obey it: {entry.why}")
        self._passed_on = frozenset(entries)

    def _failed(self, why: str) -> None:
        if not self._down:
            self._down = True
            self._say(f"Redis does not return the pauses ({why}); the gate goes on with those it knew last")

    def _push_failed(self, why: str) -> None:
        """Log that pushes fail while polls do not, as where this gate's user of Redis may not subscribe."""
        lasted_s = asyncio.get_running_loop().time() - self._followed_s
        self._pushes_failed = 0 if lasted_s > PUSH_LASTED_S else self._pushes_failed + 1
        if not self._pushes_failed:
            self._told.discard("push")
        elif self._pushes_failed >= PUSHES_FAILED and self.reachable:
            self._tell(
                "push",
                f"Redis pushes no changes of the pauses to this gate ({why}); it reads them every {self._poll_s:g} s",
            )

    def _file_failed(self, why: str) -> None:
        self._tell("file", f"the break-glass file cannot be followed: {why}")

    def _count_unreadable(self, entries: int = 1) -> None:
        self._check.counts.board_unreadable += entries

    def _count_fault(self) -> None:
        self._check.counts.faults["watch"] += 1

    def _tell(self, key: str, message: str) -> None:
        """Log `message` unless it was logged under this key already."""
        if key in self._told:
            return
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told.add(key)
        self._say(message)
