"""Changes of one pause, as values: which pause may be changed, how one ends, and how a proposal comes into force."""

from __future__ import annotations

from dataclasses import replace

from gate.core.duration import left_text
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.lease import MAX_LEASE_US
from gate.core.pause.ramp import default_ramp_us
from gate.core.pause.scope import PauseMode
from gate.errors import OperatorError


def running(board: Board, id_: str, now_us: int) -> Pause:
    """The pause `id_`, which has not ended. Raises OperatorError."""
    pause = board.pauses.get(id_)
    if pause is None and any(entry.id == id_ for entry in board.unreadable):
        raise OperatorError(f"pause {id_} cannot be read by this release", "release it with the release that wrote it")
    if pause is None:
        raise OperatorError(f"there is no pause {id_}", _known(board, id_, now_us))
    if pause.released_at_us is not None:
        raise OperatorError(f"pause {id_} was released already, by {pause.released_by or 'an unnamed person'}")
    if now_us >= pause.expires_at_us:
        ago = left_text(now_us - pause.expires_at_us)
        raise OperatorError(f"pause {id_} expired already, {ago} ago")
    return pause


def released(pause: Pause, by: str, now_us: int, ramp_us: int | None, machine: bool) -> Pause:
    """The pause as it ends now. One that only counted or was never in force holds nobody, so no account comes back over a
    ramp."""
    held = pause.mode is PauseMode.ENFORCE and not pause.awaits_approval
    held = held and (pause.starts_at_us is None or pause.starts_at_us < now_us)
    planned_us = _release_ramp_us(pause, now_us, machine) if ramp_us is None else ramp_us
    return replace(
        pause, released_at_us=now_us, released_by=by, proposal=None, machine=pause.machine and machine,
        ramp_us=planned_us if held else 0,
    )  # fmt: skip


def begun(pause: Pause, now_us: int) -> Pause:
    """The pause as it comes into force now, or at its start if that is still to come. Uploads that began before may end."""
    return replace(
        pause, set_at_us=now_us, starts_at_us=pause.starts_at_us if pause.begins_later(now_us) else None
    )  # fmt: skip


def carried_out(pause: Pause, proposal: Proposal, now_us: int) -> Pause:
    """The pause as the proposal would have it. A pause that waited begins now, or at its start if that is later, and without a
    start it lasts as long as it was to last."""
    match proposal.change:
        case PauseChange.SET:
            waited_us = max(0, now_us - proposal.at_us) if pause.starts_at_us is None else 0
            return replace(begun(pause, now_us), expires_at_us=pause.expires_at_us + waited_us)
        case PauseChange.RELEASE:
            return released(pause, proposal.by, now_us, proposal.ramp_us, machine=False)
        case PauseChange.EXTEND:
            return replace(pause, expires_at_us=max(pause.expires_at_us, proposal.expires_at_us or 0))


def _release_ramp_us(pause: Pause, now_us: int, machine: bool) -> int:
    began_us = pause.begins_at_us
    ramp_us = 0 if began_us is None else default_ramp_us(max(0, now_us - began_us))
    return min(ramp_us, MAX_LEASE_US) if machine else ramp_us


def _known(board: Board, id_: str, now_us: int) -> str:
    meant = f"p-{id_.strip().lower().removeprefix('p-')}"
    if meant in board.pauses:
        return f"did you mean {meant}?"
    active = board.active(now_us)
    going = [pause for pause in board.pauses.values() if pause.released_at_us is None and now_us < pause.expires_at_us]
    later = [pause for pause in going if pause not in active]
    groups = [("active now", active), ("not in force yet", sorted(later, key=lambda pause: pause.id))]
    lines = [f"{title}: {', '.join(pause.id for pause in pauses)}" for title, pauses in groups if pauses]
    return "; ".join(lines) or "no pause is active, and none waits"
