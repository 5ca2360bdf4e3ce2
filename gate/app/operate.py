"""The acts of the kill switch: set a pause, release one, and wait until every live gate obeys.

Decides ids, revisions and times, and the limits for a single person. All times are by the store's clock: neither the
operator's clock nor a gate's moves a pause. Callers decide about confirmation and output; the port stores the board.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from gate.app.converge import HEARD_WITHIN_US, Convergence, converged
from gate.core.duration import duration_text
from gate.core.pause.board import (
    MAX_DURATION_US,
    Board,
    Pause,
    forget_ended,
)
from gate.core.pause.scope import Action, Scope
from gate.errors import ControlRefused, OperatorError, StateUnreadable, StoreUnavailable, UploadGateError
from gate.ports.boards import Acknowledgement, BoardStore, Gates
from gate.records.pause import MAX_REV

REPAIRED_WITHIN_S = 3.0
"""How long a write waits for a gate to repair an unreadable board. A gate does so within a second."""

_ATTEMPTS = 200
_MOST_AHEAD = 1 << 40
_REPAIR_POLL_S = 0.05


class Operate:
    """The acts on one board. `new_id` returns pause ids that were never used before; `status` is named in messages."""

    def __init__(self, store: BoardStore, new_id: Callable[[], str], status: str = "`upload-gate status`") -> None:
        self._store = store
        self._new_id = new_id
        self._status = status

    async def pause(self, scope: Scope, action: Action, reason: str, text: str, owner: str, for_us: int) -> Pause:
        """Set a pause that each gate obeys on receipt, until `for_us` µs from now by the store's clock.

        Raises ControlRefused if it is longer than one person may set, OperatorError if it has no length,
        StoreUnavailable (it may or may not have been written), StateUnreadable, UploadGateError if others kept changing
        the board meanwhile.
        """
        if for_us <= 0:
            raise OperatorError("a pause needs a length", "give one, such as 10m or 4h")
        if for_us > MAX_DURATION_US:
            raise ControlRefused(
                f"a pause of {duration_text(for_us)} needs a second person's approval, which cannot be given yet",
                f"set at most {duration_text(MAX_DURATION_US)} and set it again before it ends",
            )
        id_ = self._new_id()
        now_us = await self._store.now_us()

        def add(_: Board, rev: int) -> Pause:
            return Pause(
                id_, rev, scope, action, reason, text, owner, None, now_us + for_us, set_at_us=now_us
            )  # fmt: skip

        return await self._write(id_, add, now_us)

    async def release(self, id_: str, by: str) -> Pause:
        """End the pause `id_` now and return its next revision.

        Raises OperatorError if there is no such pause or it has ended already, else as `pause` does.
        """
        now_us = await self._store.now_us()

        def end(board: Board, rev: int) -> Pause:
            pause = board.pauses.get(id_)
            if pause is None and any(entry.id == id_ for entry in board.unreadable):
                raise OperatorError(
                    f"pause {id_} cannot be read by this release", "release it with the release that wrote it"
                )
            if pause is None:
                raise OperatorError(f"there is no pause {id_}", _known(board, now_us))
            if pause.released_at_us is not None:
                raise OperatorError(f"pause {id_} was released already, by {pause.released_by or 'an unnamed person'}")
            if now_us >= pause.expires_at_us:
                ago = duration_text(now_us - pause.expires_at_us)
                raise OperatorError(f"pause {id_} expired already, {ago} ago")
            return replace(pause, rev=rev, released_at_us=now_us, released_by=by)

        return await self._write(id_, end, now_us)

    async def board(self) -> Board:
        """The stored board. Raises StoreUnavailable, StateUnreadable."""
        return await self._store.read()

    async def now_us(self) -> int:
        """The store's clock in µs since 1970; pauses begin and expire by it. Raises StoreUnavailable."""
        return await self._store.now_us()

    async def gates(self, within_us: int = HEARD_WITHIN_US) -> Gates:
        """The gates that acknowledged in the last `within_us` µs, stopped ones included. Raises StoreUnavailable."""
        return await self._store.gates(within_us)

    async def forget(self, said: Acknowledgement) -> None:
        """Delete the acknowledgement of a gate that is gone for good. Raises StoreUnavailable."""
        await self._store.forget(said.process)

    async def converged(self, change: Pause, deadline_s: float) -> Convergence:
        """Wait until every live gate obeys `change`, at most `deadline_s` seconds. Raises StoreUnavailable."""
        return await converged(self._store, change, deadline_s)

    async def _write(self, id_: str, change: Callable[[Board, int], Pause], now_us: int) -> Pause:
        acknowledged_rev = await self._acknowledged_rev()
        wanted: Pause | None = None
        for _ in range(_ATTEMPTS):
            board = await self._readable_board()
            # a store that wrote, lost the answer and repeated the write reports a conflict with our own first write
            if wanted is not None and board.pauses.get(id_) == wanted:
                return wanted
            ahead = acknowledged_rev if acknowledged_rev - board.rev < _MOST_AHEAD else 0
            wanted = change(board, max(board.rev, ahead) + 1)
            kept = forget_ended(board, now_us)
            if await self._replace(board.rev, replace(kept, pauses={**kept.pauses, id_: wanted}), wanted):
                return wanted
        raise UploadGateError(
            f"the board changed {_ATTEMPTS} times while pause {id_} was being written",
            f"see who writes to it with {self._status}, then try again",
        )

    async def _acknowledged_rev(self) -> int:
        """The highest revision that a gate holds. A store that was restored from a backup may hold a lower one.

        Numbers too high for further revisions are ignored: no writer makes them.
        """
        try:
            said = (await self._store.gates(HEARD_WITHIN_US)).acknowledgements
        except StoreUnavailable:
            return 0  # the store may still accept a pause although it cannot return the acknowledgements
        return max((one.rev for one in said if one.rev < MAX_REV - _MOST_AHEAD), default=0)

    async def _readable_board(self) -> Board:
        clock = asyncio.get_running_loop().time
        until_s = clock() + REPAIRED_WITHIN_S
        while True:
            try:
                return await self._store.read()
            except StateUnreadable:
                if clock() >= until_s:
                    raise
            await asyncio.sleep(_REPAIR_POLL_S)

    async def _replace(self, expected_rev: int, board: Board, wanted: Pause) -> bool:
        try:
            return await self._store.replace(expected_rev, board)
        except StoreUnavailable:
            # the answer may have been lost after the write: the operator must learn that the pause is in force
            if (await self._store.read()).pauses.get(wanted.id) == wanted:
                return True
            raise


def _known(board: Board, now_us: int) -> str:
    active = ", ".join(pause.id for pause in board.active(now_us))
    return f"active now: {active}" if active else "no pause is active now"
