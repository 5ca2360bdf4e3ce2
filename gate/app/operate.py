"""The acts of the kill switch: set a pause, release one, and wait until every live gate obeys.

Decides ids, revisions and times, and what a single person may do. Whom to ask first, what to print and where the
board lives is left to the callers and the port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from gate.core.duration import duration_text
from gate.core.pause.board import (
    MAX_DURATION_US,
    Board,
    Pause,
    forget_ended,
)
from gate.core.pause.scope import Action, Scope
from gate.errors import ControlRefused, OperatorError, StoreUnavailable, UploadGateError
from gate.ports.boards import Acknowledgement, BoardStore
from gate.ports.clock import Clock

LIVE_WITHIN_US = 3_000_000
"""A gate acknowledges its revision every second; one that was silent for longer than this is not live."""

POLL_S = 0.01
_ATTEMPTS = 200


@dataclass(frozen=True, slots=True)
class Obedience:
    """One live gate: the revision it acknowledged last, and after how many seconds (None: not the one awaited)."""

    gate: str
    url: str
    rev: int
    seconds: float | None

    @property
    def obeys(self) -> bool:
        """True once it acknowledged the awaited revision or a newer one."""
        return self.seconds is not None


@dataclass(frozen=True, slots=True)
class Convergence:
    """Who obeys revision `rev` and who does not, in the order of their names. Seconds count from the call's start."""

    rev: int
    gates: tuple[Obedience, ...]
    seconds: float

    @property
    def missing(self) -> tuple[Obedience, ...]:
        """The live gates that have not acknowledged."""
        return tuple(gate for gate in self.gates if not gate.obeys)

    @property
    def complete(self) -> bool:
        """True where there is a live gate and all of them obey."""
        return bool(self.gates) and not self.missing


class Operate:
    """The acts over one board. `new_id` gives pause ids that were never used before."""

    def __init__(self, store: BoardStore, clock: Clock, new_id: Callable[[], str]) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id

    async def pause(self, scope: Scope, action: Action, reason: str, text: str, owner: str, for_us: int) -> Pause:
        """Set a pause that is in force from now on, for `for_us` µs.

        Raises ControlRefused where it is longer than one person may set, OperatorError where it has no length,
        StoreUnavailable (then it may or may not have been written), StateUnreadable, UploadGateError.
        """
        if for_us <= 0:
            raise OperatorError("a pause needs a length", "give one, such as 10m or 4h")
        if for_us > MAX_DURATION_US:
            raise ControlRefused(
                f"a pause of {duration_text(for_us)} needs a second person's approval, which cannot be given yet",
                f"set at most {duration_text(MAX_DURATION_US)} and set it again before it ends",
            )
        id_ = self._new_id()
        now_us, starts_at_us = await self._times()

        def add(board: Board) -> Pause:
            return Pause(
                id_, board.rev + 1, scope, action, reason, text, owner, starts_at_us, now_us + for_us
            )  # fmt: skip

        return await self._write(id_, add)

    async def release(self, id_: str, by: str) -> Pause:
        """End the pause `id_` now and return its next revision.

        Raises OperatorError where there is no such pause or it has ended already, and what `pause` raises.
        """
        now_us, _ = await self._times()

        def end(board: Board) -> Pause:
            pause = board.pauses.get(id_)
            if pause is None:
                raise OperatorError(f"there is no pause {id_}", _known(board, now_us))
            if pause.released_at_us is not None:
                raise OperatorError(f"pause {id_} was released already, by {pause.released_by or 'nobody named'}")
            if now_us >= pause.expires_at_us:
                ago = duration_text(now_us - pause.expires_at_us)
                raise OperatorError(f"pause {id_} expired already, {ago} ago")
            return replace(pause, rev=board.rev + 1, released_at_us=now_us, released_by=by)

        return await self._write(id_, end)

    async def board(self) -> Board:
        """The board as it is stored. Raises StoreUnavailable, StateUnreadable."""
        return await self._store.read()

    async def now_us(self) -> int:
        """The time pauses are judged by: ours, or the servers' where ours is far off. Raises StoreUnavailable."""
        return (await self._times())[0]

    async def gates(self, within_us: int = LIVE_WITHIN_US) -> list[Acknowledgement]:
        """The gates heard of within that many µs. Raises StoreUnavailable."""
        return await self._store.gates(within_us)

    async def converged(self, rev: int, deadline_s: float) -> Convergence:
        """Wait until every live gate acknowledges `rev` or newer, at most `deadline_s` seconds.

        A gate that falls silent meanwhile still counts: it has not obeyed. With no live gate it returns at once, as
        there is nobody to wait for. Raises StoreUnavailable.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        found: dict[str, Obedience] = {}
        while True:
            seen = await self._store.gates(LIVE_WITHIN_US)
            passed = clock() - began
            for gate in seen:
                known = found.get(gate.gate)
                if known is None or not known.obeys:
                    seconds = passed if gate.rev >= rev else None
                    found[gate.gate] = Obedience(gate.gate, gate.url, gate.rev, seconds)
            result = Convergence(rev, tuple(found[name] for name in sorted(found)), passed)
            if not result.missing or passed >= deadline_s:
                return result
            await asyncio.sleep(min(POLL_S, deadline_s - passed))

    async def _write(self, id_: str, change: Callable[[Board], Pause]) -> Pause:
        wanted: Pause | None = None
        for _ in range(_ATTEMPTS):
            board = await self._store.read()
            # a store that wrote, lost the answer and tried again by itself reports a conflict with our own write
            if wanted is not None and board.pauses.get(id_) == wanted:
                return wanted
            wanted = change(board)
            kept = forget_ended(board, self._clock.now_us())
            if await self._replace(board.rev, Board({**kept.pauses, id_: wanted}), wanted):
                return wanted
        raise UploadGateError(
            f"the board changed {_ATTEMPTS} times while pause {id_} was being written",
            "see who writes to it with `upload-gate status`, then try again",
        )

    async def _replace(self, expected_rev: int, board: Board, wanted: Pause) -> bool:
        try:
            return await self._store.replace(expected_rev, board)
        except StoreUnavailable:
            # the answer may have been lost after the write: whoever set it must learn that it stands
            if (await self._store.read()).pauses.get(wanted.id) == wanted:
                return True
            raise

    async def _times(self) -> tuple[int, int]:
        """Now, and the start of a pause that every gate must find begun.

        An operator's clock may be minutes off. A pause that starts in a gate's future would be acknowledged and not
        obeyed, so it starts no later than the last acknowledgement, which bears the servers' time.
        """
        now_us = self._clock.now_us()
        last_us = max((gate.seen_at_us for gate in await self._store.gates(LIVE_WITHIN_US)), default=now_us)
        if abs(now_us - last_us) > 2 * LIVE_WITHIN_US:
            now_us = last_us
        return now_us, min(now_us, last_us)


def _known(board: Board, now_us: int) -> str:
    active = ", ".join(pause.id for pause in board.active(now_us))
    return f"active now: {active}" if active else "no pause is active now"
