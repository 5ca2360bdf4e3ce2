"""The three steps by which a board comes into force in one gate: adopt it, keep it on disk, acknowledge it.

The order is a guarantee: a gate acknowledges a board after it decides by it and has written it to disk. If the disk
fails, the gate goes on deciding by the board, and its acknowledgement says that the board is not on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from gate.app.check import Check
from gate.app.store_clock import CLOCK_MOVED_US, ClockSteps, StoreClock
from gate.core.pause.board import Board, by_local_clock, forget_ended, merge
from gate.core.pause.entry import Pause
from gate.core.pause.room import fitting
from gate.core.pause.scope import Action, Scope
from gate.core.policy import PausesUnknown
from gate.errors import StateUnreadable
from gate.ports.boards import Acknowledgement, BoardStore
from gate.ports.clock import Clock, ClockMark, Uptime
from gate.records.board_document import MAX_PAUSES, board_digest
from gate.records.pause import MAX_BYTES, fingerprint
from gate.stores.disk.snapshot import BoardSnapshot

UNKNOWN_FOR_US: Final = 60_000_000
"""How long uploads that a gate pauses, as it does not know the pauses, are told to wait at most."""
LATEST: Final = 32
"""How many fingerprints an acknowledgement carries: those of the pauses with the highest revisions."""

KEEP_WITHIN_S: Final = 1.0
SHARES: Final = (1, 2, 4, 8)
"""A board that is too large for the snapshot is cut to the room divided by these, the first that fits."""
MARK_EVERY_US: Final = 60_000_000
"""How old the mark of the store's clock in the snapshot may become."""


@dataclass(frozen=True, slots=True)
class BoardProof:
    """The proof that a board is in force.

    `latest` holds the fingerprints of its newest pauses, the newest first. `lifted` holds the newest of its pauses that the
    host's break-glass file lifts. `is_known` is false until a server or a snapshot has given the gate a board."""

    rev: int
    digest: str
    latest: tuple[str, ...]
    lifted: tuple[str, ...] = ()
    is_known: bool = True


class BoardInForce:
    """Adopts boards: merges the pauses of each source into the board that `check` decides by, and drops none."""

    def __init__(self, check: Check, clock: Clock, uptime: Uptime | None = None) -> None:
        self._check = check
        self._clock = clock
        self._uptime = uptime
        self._ahead_us = (0, 0)
        self._proof: tuple[Board, BoardProof] | None = None
        self._heard: Board | None = None
        self._held_until_us = 0
        self.is_known = False
        """True once a store, a channel or the snapshot of the last run has given a board, even an empty one."""
        self.store_clock = StoreClock(None if uptime is None else ClockSteps(clock, uptime))
        self.board = Board()

    def store_now_us(self) -> int:
        """This gate's estimate of the store's clock now."""
        return self._clock.now_us() - self.store_clock.best.ahead_us

    def proof(self) -> BoardProof:
        """The proof of the board that is in force now."""
        proven = self._proof
        if proven is None or proven[1].is_known is not self.is_known or not _same_in_force(proven[0], self.board):
            newest = sorted(self.board.pauses.values(), key=lambda pause: (-pause.rev, pause.id))
            latest = tuple(fingerprint(pause) for pause in newest[:LATEST])
            lifted = tuple(pause.id for pause in newest if pause.id in self.board.lifted)[:LATEST]
            proof = BoardProof(self.board.rev, board_digest(self.board), latest, lifted, self.is_known)
            self._proof = proven = self.board, proof
        return proven[1]

    def adopt(self, board: Board) -> bool:
        """Merge `board` and decide by the result from now on. Returns False if the merge changed nothing."""
        if board is self._heard:
            return False  # a store returns the same object as long as its document does not change
        self._heard = board
        was_known, self.is_known = self.is_known, True
        merged = merge(self.board, board)
        if self.store_clock.known:  # an unmeasured clock may be days ahead, and would have a pause in force forgotten
            merged = forget_ended(merged, self.store_now_us())
        if merged == self.board:
            if not was_known:
                self._decide_by(self.board)  # until now by that and by what `hold_unknown` adds
            return False
        self._decide_by(merged)
        return True

    def adopt_break_glass(self, pauses: tuple[Pause, ...], lifted: frozenset[str] = frozenset()) -> None:
        """Decide by these entries of the host's file, and not by the pauses `lifted`; they replace the earlier ones."""
        self._decide_by(replace(self.board, break_glass=pauses, lifted=lifted))

    def hold_unknown(self) -> None:
        """Pause all uploads while no board is known, if the policy says so. Call it again and again, from the start on."""
        now_us = self._clock.now_us()
        holds = not self.is_known and self._check.policy.pauses_unknown is PausesUnknown.STOP
        if holds and now_us + UNKNOWN_FOR_US // 2 >= self._held_until_us:
            self._held_until_us = now_us + UNKNOWN_FOR_US
            self._decide_by(self.board)
        elif not holds and self._held_until_us:
            self._held_until_us = 0
            self._decide_by(self.board)

    def follow_clock(self) -> None:
        """Convert the board's times again if the store's clock has moved against ours."""
        ahead_us = self.store_clock.best.ahead_us, self.store_clock.begins_ahead_us
        if any(abs(now - known) > CLOCK_MOVED_US for now, known in zip(ahead_us, self._ahead_us, strict=True)):
            ends_us, begins_us = (each if abs(each) > CLOCK_MOVED_US else 0 for each in ahead_us)
            self._ahead_us = ends_us, begins_us
            self._decide_by(self.board)

    def follow_steps(self) -> None:
        """Keep the estimate of the store's clock if the host's own clock was set."""
        if self.store_clock.follow_steps():
            self.follow_clock()

    def start_from(self, mark: ClockMark) -> None:
        """Fall back on what the last run knew of the store's clock."""
        if self._uptime is not None:
            self.store_clock.start_from(mark, self._clock.now_us(), self._uptime)
            self.follow_clock()

    def mark(self) -> ClockMark | None:
        """What is known of the store's clock now, for the snapshot; None if nothing is.

        A mark without a boot stays a lower bound for the next process, too.
        """
        known = self.store_clock
        if self._uptime is None or not known.has_basis:
            return None
        boot = "" if known.is_lower_bound else self._uptime.boot
        return ClockMark(
            self.store_now_us(), known.begins_ahead_us, boot, self._uptime.elapsed_us(), known.elsewhere_ahead_us
        )

    def _decide_by(self, board: Board) -> None:
        self.board = board
        shown = by_local_clock(board, *self._ahead_us)
        if self._held_until_us and not self.is_known:
            shown = replace(shown, break_glass=(*shown.break_glass, _unknown_pause(self._held_until_us)))
        self._check.board = shown


def _unknown_pause(until_us: int) -> Pause:
    text = "this gate has not learned of the pauses yet"
    return Pause("pauses-unknown", 1, Scope(), Action.STOP, "other", text, "upload-gate", None, until_us)


def _same_in_force(left: Board, right: Board) -> bool:
    return left.pauses is right.pauses and left.lifted == right.lifted


class BoardKeeper:
    """Keeps boards: the only writer of the snapshot. Of two boards at once, the later one in force is written last."""

    def __init__(
        self, snapshot: BoardSnapshot, say: Callable[[str], None], failed: Callable[[], None],
        mark: Callable[[], ClockMark | None] = lambda: None,
    ) -> None:  # fmt: skip
        self._snapshot = snapshot
        self._say = say
        self._failed = failed
        self._mark = mark
        self._kept: Board | None = None
        self._marked: ClockMark | None = None
        self._writing: asyncio.Task[str | None] | None = None
        self._told = False

    async def keep(self, board: Board) -> bool:
        """Write `board` unless it is on the disk already; return whether it is there now.

        It is written again when its mark of the store's clock is old. Stops waiting for a disk that hangs after
        KEEP_WITHIN_S seconds. Not for concurrent use.
        """
        if board is self._kept and not self._mark_is_old():
            return True
        if self._writing is None:
            self._writing = asyncio.create_task(
                asyncio.to_thread(self._write, board, self._mark()), name="board snapshot"
            )
            began, wait_s = board, KEEP_WITHIN_S
        else:
            began, wait_s = None, 0.0  # an earlier write still hangs: it may hold another board
        await asyncio.wait({self._writing}, timeout=wait_s)
        if not self._writing.done():
            return self._not_kept(f"the disk took longer than {KEEP_WITHIN_S:g} s")
        ended, self._writing = self._writing, None  # before its fault is raised, or no board would be written again
        problem = ended.result()
        if problem is not None:
            return self._not_kept(problem)
        if began is None:
            return await self.keep(board)
        self._kept = board
        if self._told:
            self._told = False
            self._say(f"the snapshot of the pauses is written to {self._snapshot.path} again")
        return True

    def _mark_is_old(self) -> bool:
        mark, known = self._mark(), self._marked
        return mark is not None and (known is None or mark.elapsed_us - known.elapsed_us >= MARK_EVERY_US)

    def _write(self, board: Board, mark: ClockMark | None) -> str | None:
        try:
            self._snapshot.write(board, mark)
        except OSError as error:
            return str(error)
        except StateUnreadable as error:
            for share in SHARES:  # sizes are estimates, and names of other scripts take several times as much
                part = fitting(board, MAX_PAUSES, MAX_BYTES // share)
                with suppress(OSError, StateUnreadable):
                    self._snapshot.write(part, mark)
                    return f"{error}; it holds the {len(part.pauses)} that matter most"
            return str(error)
        self._marked = mark
        return None

    def _not_kept(self, problem: str) -> bool:
        if not self._told:
            self._told = True
            self._failed()
            self._say(
                f"the snapshot of the pauses cannot be written to {self._snapshot.path} ({problem}); "
                "this gate obeys the pauses, but would lose them in a restart without Redis and Kafka"
            )
        return False


class Acknowledger:
    """Acknowledges boards: writes to the store which board is in force here, and learns the store's clock."""

    def __init__(self, store: BoardStore, clock: Clock, said: Acknowledgement, check: Check) -> None:
        self._store = store
        self._clock = clock
        self._said = said
        self._check = check
        self.first_at_us: int | None = None
        """When the store received the first acknowledgement, by its clock."""

    async def acknowledge(self, proof: BoardProof, unreadable: int, on_disk: bool, store_clock: StoreClock) -> None:
        """Write that the board of `proof` is in force, and whether it is on disk. Raises StoreUnavailable."""
        self._said = self.of(proof, unreadable, on_disk, store_clock)
        before_us = self._said.clock_us
        taken_us = await self._store.acknowledge(self._said)
        store_clock.learn(taken_us, before_us, self._clock.now_us())
        if self.first_at_us is None:
            self.first_at_us = taken_us

    def of(
        self, proof: BoardProof, unreadable: int, on_disk: bool, store_clock: StoreClock, left: bool = False
    ) -> Acknowledgement:
        """The acknowledgement of the board of `proof`."""
        now_us = self._clock.now_us()
        return replace(
            self._said,
            rev=proof.rev,
            digest=proof.digest,
            latest=proof.latest,
            lifted=proof.lifted,
            unreadable=unreadable,
            clock_us=now_us,
            store_us=now_us - store_clock.best.ahead_us,
            recent=self._check.recent.by_class(now_us),
            recent_s=self._check.recent.seconds(now_us),
            on_disk=on_disk,
            policy=self._check.policy.hash,
            left=left,
            workers_salt=self._check.hot.workers_salt,
            pauses_known=proof.is_known,
        )

    async def learn_clock(self, store_clock: StoreClock) -> None:
        """Query the store for its time. Raises StoreUnavailable."""
        before_us = self._clock.now_us()
        store_clock.learn(await self._store.now_us(), before_us, self._clock.now_us())

    async def leave(self) -> None:
        """Write that this process is stopping. Raises StoreUnavailable."""
        await self._store.acknowledge(replace(self._said, clock_us=self._clock.now_us(), left=True))

    def is_twin(self, other: Acknowledgement) -> bool:
        """True if `other` is a live process of our name that acknowledged after our first acknowledgement."""
        return (
            other.gate == self._said.gate
            and other.boot != self._said.boot
            and not other.left
            and self.first_at_us is not None
            and other.acknowledged_at_us > self.first_at_us
        )
