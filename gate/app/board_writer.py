"""Writes one change of the kill switch into the shared board by compare-and-set, and repeats a write that lost a race."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from gate.app.converge import HEARD_WITHIN_US
from gate.core.pause.board import Board, forget_ended, merge
from gate.core.pause.entry import Pause
from gate.core.pause.room import RELEASE_BYTES, WHOLE, share_of, to_release
from gate.errors import ControlRefused, OperatorError, StateUnreadable, StoreUnavailable, UploadGateError
from gate.ports.boards import Acknowledgement, BoardStore
from gate.records.board_document import MAX_PAUSES, encode_board
from gate.records.pause import MAX_BYTES, MAX_REV, decode_pause, encode_pause

REPAIRED_WITHIN_S = 3.0
"""How long a write waits for a gate to repair an unreadable board. A gate does so within a second."""

CAUGHT_UP_WITHIN_S = 2.0
"""How long a change waits for a gate to write back what the store has lost. A gate does so within a second."""

NOTHING = Board()

_ATTEMPTS = 200
_MOST_AHEAD = 1 << 40
_REPAIR_POLL_S = 0.05


class BoardWriter:
    """Writes to `store`. `status` is the command that shows the board, for messages.

    `gate_at_hand` returns the board that a reachable gate obeys. The writer reads it if the store has lost pauses that
    gates hold, and no gate writes them back because the gates' user of Redis may only read them.
    """

    def __init__(
        self, store: BoardStore, status: str, caught_up_within_s: float = CAUGHT_UP_WITHIN_S,
        gate_at_hand: Callable[[], Awaitable[Board]] | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._status = status
        self._caught_up_within_s = caught_up_within_s
        self._gate_at_hand = gate_at_hand

    async def write(
        self, id_: str, change: Callable[[Board, int], Pause], now_us: int, changes_known: bool = True,
        elsewhere: Board = NOTHING,
    ) -> Pause:  # fmt: skip
        """Put `change(board, revision)` on the board as pause `id_`, and return it.

        With `changes_known` it is a change of a pause that exists. A store that was restored, or a channel that a gate has
        not filled yet, may hold an older revision of it than the gates: the change waits until a gate has written it.
        `elsewhere` is what the other channel holds: the change is made to the pause as both channels together know it.

        Raises what `change` raises, StoreUnavailable (it may or may not have been written), StateUnreadable, and
        UploadGateError if others kept changing the board meanwhile.
        """
        acknowledged = await self._acknowledged()
        acknowledged_rev = highest_rev(acknowledged)
        wanted: Pause | None = None
        for _ in range(_ATTEMPTS):
            stored = await self._readable_board()
            board = merge(stored, elsewhere)
            if changes_known and wanted is None and board.rev < acknowledged_rev < board.rev + _MOST_AHEAD:
                stored = await self._caught_up(acknowledged_rev)
                elsewhere = await self._with_gate_at_hand(merge(stored, elsewhere), acknowledged_rev)
                board = merge(stored, elsewhere)
            if changes_known and id_ not in board.pauses:
                check_not_lost(id_, acknowledged)
            # a store that wrote, lost the answer and repeated the write reports a conflict with our own first write
            if wanted is not None and board.pauses.get(id_) == wanted:
                return wanted
            ahead = acknowledged_rev if acknowledged_rev - board.rev < _MOST_AHEAD else 0
            # a forged revision at the very top must not end all changes: copies of one revision are joined as well
            wanted = change(board, min(max(board.rev, ahead) + 1, MAX_REV))
            # pauses of the other channel alone are left to the gates and the keeper, which know that they belong here
            kept = forget_ended(stored, now_us)
            check_fits_a_pause(wanted)
            if not changes_known:
                self._check_room(kept, wanted, now_us)
            written = replace(kept, pauses={**kept.pauses, id_: wanted})
            if await self._replace(stored.rev, written, wanted):
                return wanted
        raise UploadGateError(
            f"other pauses were changed {_ATTEMPTS} times while pause {id_} was being written",
            f"see who writes to it with {self._status}, then try again",
        )

    def _check_room(self, board: Board, wanted: Pause, now_us: int) -> None:
        """Raise ControlRefused if the new pause takes more room than it may."""
        share, pauses = share_of(wanted), {**board.pauses, wanted.id: wanted}
        problem = ""
        try:
            size = len(encode_board(replace(board, pauses=pauses)))
            if share < WHOLE:
                size += RELEASE_BYTES * sum(pause.released_at_us is None for pause in pauses.values())
            if len(pauses) <= share * MAX_PAUSES and size <= share * MAX_BYTES:
                return
        except StateUnreadable as error:
            problem = f": {error}"
        whose = "machines" if wanted.machine else "all but platform-wide pauses that are enforced"
        kinds = "" if share == WHOLE else f"; the last {1 - share:.0%} is kept from {whose}"
        raise ControlRefused(
            f"there is no room for pause {wanted.id}{problem}{kinds}; nothing was changed",
            f"{to_release(board.pauses, now_us)}. A pause of a list takes room for each account; --direct file pauses on one "
            f"host; see {self._status}",
        )

    async def _acknowledged(self) -> tuple[Acknowledgement, ...]:
        try:
            return (await self._store.gates(HEARD_WITHIN_US)).acknowledgements
        except StoreUnavailable:
            return ()  # the store may still accept a pause although it cannot return the acknowledgements

    async def caught_up(self, elsewhere: Board = NOTHING) -> Board:
        """The board with `elsewhere`, once it holds what the gates hold or no gate has written it in time. Raises
        StoreUnavailable and StateUnreadable."""
        rev = highest_rev(await self._acknowledged())
        board = merge(await self._readable_board(), elsewhere)
        if not board.rev < rev < board.rev + _MOST_AHEAD:
            return board
        return await self._with_gate_at_hand(merge(await self._caught_up(rev), elsewhere), rev)

    async def _with_gate_at_hand(self, board: Board, rev: int) -> Board:
        """The board joined with that of the gate at hand, if gates had time to write back pauses and did not."""
        if self._gate_at_hand is None or board.rev >= rev:
            return board
        return merge(board, await self._gate_at_hand())

    async def _caught_up(self, rev: int) -> Board:
        """The board once it holds what the gates hold, or as it is when no gate has written it in time."""
        clock = asyncio.get_running_loop().time
        until_s = clock() + self._caught_up_within_s
        while (board := await self._readable_board()).rev < rev and clock() < until_s:
            await asyncio.sleep(_REPAIR_POLL_S)
        return board

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
        except StateUnreadable as error:
            raise ControlRefused(
                f"there is no room for pause {wanted.id}: {error}; nothing was changed",
                f"{to_release(board.pauses, wanted.set_at_us or 0)}; see {self._status}",
            ) from error
        except StoreUnavailable:
            # the answer may have been lost after the write: the operator must learn that the pause is in force
            if (await self._store.read()).pauses.get(wanted.id) == wanted:
                return True
            raise


def check_fits_a_pause(wanted: Pause) -> None:
    """Raise OperatorError for a pause that no gate could read, such as one of more classes than a pause may name."""
    try:
        decode_pause(encode_pause(wanted), "")
    except StateUnreadable as error:
        said = str(error).replace("`.", "`", 1)
        raise OperatorError(f"no gate could read this pause: {said}", "correct it; nothing was changed") from error


def highest_rev(acknowledged: Iterable[Acknowledgement]) -> int:
    """The highest revision that a gate holds. A store that was restored from a backup may hold a lower one.

    Numbers too high for further revisions are ignored: no writer makes them.
    """
    return max((one.rev for one in acknowledged if one.rev < MAX_REV - _MOST_AHEAD), default=0)


def check_not_lost(id_: str, acknowledged: Iterable[Acknowledgement]) -> None:
    """Raise ControlRefused for a pause that no channel holds and gates still obey."""
    holders = sorted({said.gate for said in acknowledged if any(one.startswith(f"{id_}@") for one in said.latest)})
    if holders:
        raise ControlRefused(
            f"pause {id_} was lost in the store, and {', '.join(holders)} still obeys it; nothing was changed",
            "repeat it with --admin URL of that gate's admin port, on its host, or run `upload-gate keeper --admin URL` "
            "there, which writes it back",
        )
