"""The words that `status`, `history` and the live view of `up` share: what a pause does, and how many there are."""

from __future__ import annotations

from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Exemption, PauseMode


def effect_of(action: Action, factor: float, mode: PauseMode) -> str:
    """What a pause does to uploads, such as `throttle to 10% of minutes` or `only count (would stop)`."""
    said = f"{action.value} to {factor:.0%} of minutes" if action is Action.THROTTLE else action.value
    return f"only count (would {said})" if mode is PauseMode.DRY_RUN else said


def effect_on(uploads: str, action: Action, factor: float, mode: PauseMode) -> str:
    """The same with its object: `throttle uploads of class new to 10% of minutes`, `only count uploads (would stop them)`."""
    share = f" to {factor:.0%} of minutes" if action is Action.THROTTLE else ""
    if mode is PauseMode.DRY_RUN:
        return f"only count {uploads} (would {action.value} them{share})"
    return f"{action.value} {uploads}{share}"


def narrowing(percent: int, exempt: Exemption) -> list[str]:
    """What a pause leaves alone of its scope, as fields: `20% of accounts`, `except verified accounts`."""
    return [*([f"{percent}% of accounts"] if percent < 100 else []), *([f"except {exempt}"] if exempt else [])]


def waiting(board: Board, now_us: int) -> list[Pause]:
    """The pauses that have not begun: those of a later start, and those that a second person must approve."""
    return [
        pause
        for _, pause in sorted(board.pauses.items())
        if pause.released_at_us is None and now_us < pause.expires_at_us and not pause.active(now_us)
    ]


def ramping(board: Board, now_us: int) -> list[Pause]:
    """The pauses that have ended, and after which accounts still come back."""
    return [pause for pause in board.pauses.values() if pause.ramping(now_us)]


def pause_counts(board: Board, now_us: int, rev: int) -> list[str]:
    """The counts as fields, such as `2 active pauses (rev 7)` and `1 waiting`; those that are 0 after the first are left out."""
    active = len(board.active(now_us))
    others = (
        (sum(pause.active(now_us) for pause in board.break_glass), "from the host's break-glass file"),
        (len(waiting(board, now_us)), "waiting"),
        (len(ramping(board, now_us)), "ended, accounts come back"),
    )
    first = f"{active} active {'pause' if active == 1 else 'pauses'} (rev {rev})"
    return [first, *(f"{count} {what}" for count, what in others if count)]
