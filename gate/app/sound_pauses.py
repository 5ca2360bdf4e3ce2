"""Removes from a board the pauses that raise when they are prepared or evaluated, so that gates obey the others.

This release writes no such pause. If the board holds one all the same, checks and the kill switch must go on.
"""

from __future__ import annotations

from gate.core.decide import LivePauses, live_pauses
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.index import IndexedPause, PauseIndex, index_of, strictest
from gate.core.request import CheckRequest


def readable_board(board: Board, now_us: int) -> Board:
    """`board` without pauses that raise when they are prepared."""
    pauses = {key: pause for key, pause in board.pauses.items() if _prepares(pause, now_us)}
    glass = tuple(pause for pause in board.break_glass if _prepares(pause, now_us))
    return Board(pauses, glass, lifted=board.lifted)


def _prepares(pause: Pause, now_us: int) -> bool:
    try:
        live_pauses(Board({pause.id: pause}), now_us)
    except Exception:
        return False
    return True


def sound_pauses(pauses: LivePauses, request: CheckRequest, class_: str, now_us: int) -> LivePauses:
    """`pauses` without those whose evaluation raises."""

    def fine(entry: IndexedPause) -> bool:
        try:
            strictest(index_of((entry.pause,), now_us), request, class_, now_us, 1.0)
        except Exception:
            return False
        return True

    def sound(index: PauseIndex) -> PauseIndex:
        return index_of((entry.pause for entry in index.entries if fine(entry)), now_us)

    enforced = (sound(pauses.break_glass), sound(pauses.shared), sound(pauses.by_risk))
    return LivePauses(pauses.rev, *enforced, sound(pauses.dry_run))
