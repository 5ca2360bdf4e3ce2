"""How much of the board's room a new pause may take, so that the board is never too full for the pause that matters.

A board has a limited size. Without shares, a machine that runs wild or somebody with many lists could fill it, and a
stop of the whole platform would no longer fit. Releases, extensions and approvals of pauses on the board may use all of
the room, and for each pause in force room is kept for its release. Expired pauses take none: they are forgotten where
the board is half full.

| new pause | share of the room, in bytes and in number |
|---|---|
| a machine's | a half |
| a person's | fifteen sixteenths |
| a person's, platform-wide and enforced | all of it |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gate.core.pause.board import Board, size_of
from gate.core.pause.entry import Pause
from gate.core.pause.scope import PauseMode

MACHINES: Final = 0.5
PERSONS: Final = 15 / 16
WHOLE: Final = 1.0
RELEASE_BYTES: Final = 160
"""What a release adds to a pause's document."""
_NAMED: Final = 5


def share_of(pause: Pause) -> float:
    """The share of the room that may be taken once the new pause is on the board."""
    if pause.machine:
        return MACHINES
    return WHOLE if pause.scope.platform_wide and pause.mode is PauseMode.ENFORCE else PERSONS


def to_release(pauses: Mapping[str, Pause], now_us: int) -> str:
    """A sentence that says what to release for more room: pauses of the owner of most, those first that only count."""
    running = [pause for pause in pauses.values() if pause.released_at_us is None and now_us < pause.expires_at_us]
    if not running:
        return "no pause is in force: room comes back as ended pauses expire"
    ((owner, most),) = Counter(pause.owner for pause in running).most_common(1)
    theirs = sorted(
        (pause for pause in running if pause.owner == owner),
        key=lambda pause: (pause.mode is PauseMode.ENFORCE, -len(pause.scope.accounts), pause.expires_at_us, pause.id),
    )
    named = " ".join(pause.id for pause in theirs[:_NAMED])
    return f"{most} of {len(running)} pauses are {owner}'s; release some that are no longer needed, such as {named}"


def fitting(board: Board, most_pauses: int, most_bytes: int) -> Board:
    """The part of a board too large to write that matters most: pauses of the whole platform in force first, then by revision,
    the newest first. Channels that somebody floods can hold more pauses than a board may."""
    kept: dict[str, Pause] = {}
    left = most_bytes
    for pause in sorted(
        board.pauses.values(),
        key=lambda each: (each.scope.platform_wide and each.released_at_us is None, each.rev),
        reverse=True,
    ):
        size = size_of(pause)
        if len(kept) < most_pauses and size <= left:
            kept[pause.id] = pause
            left -= size
    return replace(board, pauses=kept, unreadable=())
