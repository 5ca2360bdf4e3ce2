"""Reads the board as a gate's admin port shows it (`/v1/board`), for the time when Redis cannot tell."""

from __future__ import annotations

import msgspec

from gate.core.pause.board import Board, Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import StateUnreadable


class _Scope(msgspec.Struct):
    classes: list[str]
    surfaces: list[str]
    kinds: list[str]
    countries: list[str]


class _Pause(msgspec.Struct):
    id: str
    rev: int
    scope: _Scope
    action: Action
    reason: str
    text: str
    owner: str
    starts_at_us: int
    expires_at_us: int
    active: bool
    break_glass: bool = False


class _Board(msgspec.Struct):
    rev: int
    pauses: list[_Pause]


def read_gate_board(answer: object) -> tuple[Board, int]:
    """The active pauses the gate obeys, those of its host's break-glass file apart, and its revision.

    Raises StateUnreadable.
    """
    try:
        shown = msgspec.convert(answer, _Board)
    except msgspec.ValidationError as error:
        raise StateUnreadable(f"what the gate tells of its board cannot be read: {error}") from error
    active = [(pause.break_glass, _pause(pause)) for pause in shown.pauses if pause.active]
    board = Board(
        {pause.id: pause for break_glass, pause in active if not break_glass},
        tuple(pause for break_glass, pause in active if break_glass),
    )
    return board, shown.rev


def _pause(shown: _Pause) -> Pause:
    scope = Scope(
        frozenset(shown.scope.classes),
        frozenset(shown.scope.surfaces),
        frozenset(shown.scope.kinds),
        frozenset(shown.scope.countries),
    )
    return Pause(
        shown.id, shown.rev, scope, shown.action, shown.reason, shown.text, shown.owner, shown.starts_at_us, shown.expires_at_us
    )  # fmt: skip
