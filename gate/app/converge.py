"""Waits until every live gate obeys one change of the kill switch, and reports the gates that do not.

A gate obeys a change once it acknowledges a board that holds it. The proof is the fingerprint of exactly this revision
(or of a later one) among its newest pauses, or the digest of a stored board that holds the change. A gate whose clock of
the store says that the pause has ended does not obey it. Revision numbers
prove nothing: after a restore a gate may hold a higher revision without the change.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from gate.core.pause.entry import Pause
from gate.errors import StateUnreadable
from gate.ports.boards import (
    CLOCKS_AGREE_US,
    LIVE_WITHIN_US,
    SUCCEEDED_AFTER_US,
    Acknowledgement,
    BoardStore,
    Gates,
    UnreadableAcknowledgement,
)
from gate.records.board_document import board_digest
from gate.records.pause import fingerprint

HEARD_WITHIN_US = 300_000_000
"""A gate that was live this long ago and has not announced its stop may still decide by an old board."""

SILENT_WITHIN_US = 3_600_000_000
"""A gate that was live this long ago counts no longer by itself, but a command asks it whether it still decides."""

POLL_S = 0.01
_READ_BOARD_EVERY = 20


class GateState(StrEnum):
    """The state of a gate in regard to a change."""

    OBEYS = "obeys"
    NOT_ON_DISK = "not_on_disk"
    """It obeys the change but could not write it to disk: a restart during an outage of the store would lose it."""
    LATE = "late"
    """It is live, or was when the wait began, and has not acknowledged the change, or its host's file lifts the pause."""
    LEFT = "left"
    """It announced that it stops."""
    UNHEARD = "unheard"
    """It was live lately, did not announce its stop, and no longer acknowledges."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate process and the change. `seconds` is the time from the start of the wait until it obeyed, or None."""

    said: Acknowledgement
    state: GateState
    seconds: float | None = None

    @property
    def obeys(self) -> bool:
        """True once it acknowledged the change, whether the change is on its disk or not."""
        return self.state in (GateState.OBEYS, GateState.NOT_ON_DISK)


@dataclass(frozen=True, slots=True)
class Convergence:
    """The gates that obey `change` and those that do not, by name. Seconds count from the start of the wait.

    `gates` were waited for; `left` and `unheard` were not. `shared_names` are names under which several processes are
    live at once. `unreadable` are acknowledgements that cannot be read, without those of processes that a newer one of
    their name has replaced: nobody knows whether their gates obey. `accepted` holds the fingerprints and
    digests that prove the change. `now_us` is the store's clock at the end of the wait.
    """

    change: Pause
    gates: tuple[GateResult, ...] = ()
    left: tuple[GateResult, ...] = ()
    unheard: tuple[GateResult, ...] = ()
    seconds: float = 0.0
    shared_names: tuple[str, ...] = ()
    unreadable: tuple[UnreadableAcknowledgement, ...] = ()
    accepted: frozenset[str] = frozenset()
    now_us: int = 0

    @property
    def missing(self) -> tuple[GateResult, ...]:
        """The gates waited for that have not acknowledged the change."""
        return tuple(gate for gate in self.gates if not gate.obeys)

    @property
    def not_on_disk(self) -> tuple[GateResult, ...]:
        """The gates that obey the change in memory only."""
        return tuple(gate for gate in self.gates if gate.state is GateState.NOT_ON_DISK)

    @property
    def complete(self) -> bool:
        """True where there is a live gate, every one of them obeys the change, and every acknowledgement can be read."""
        return bool(self.gates) and not self.missing and not self.unreadable


def without_replaced(said: Iterable[Acknowledgement]) -> list[Acknowledgement]:
    """The acknowledgements without those of processes that fell silent before a later process of their name said that it
    stops: its goodbye speaks for the name."""
    all_said = tuple(said)
    ended: dict[str, int] = {}
    for one in all_said:
        if one.left:
            ended[one.gate] = max(ended.get(one.gate, 0), one.acknowledged_at_us)
    return [one for one in all_said if one.left or one.acknowledged_at_us > ended.get(one.gate, 0) - SUCCEEDED_AFTER_US]


def unaccounted(gates: Gates) -> tuple[UnreadableAcknowledgement, ...]:
    """The acknowledgements that cannot be read and whose process may still run.

    A process is gone if another one of its name still acknowledges while it no longer does.
    """
    latest: dict[str, int] = {}
    for said in gates.live():
        latest[said.gate] = max(latest.get(said.gate, 0), said.acknowledged_at_us)
    return tuple(entry for entry in gates.unreadable if entry.at_us > latest.get(entry.gate, 0) - SUCCEEDED_AFTER_US)


def shared_names(live: Iterable[Acknowledgement]) -> list[str]:
    """The names under which several processes are live at once."""
    processes: dict[str, set[str]] = defaultdict(set)
    for said in live:
        processes[said.gate].add(said.boot)
    return sorted(name for name, boots in processes.items() if len(boots) > 1)


def clock_differs(change: Pause, said: Acknowledgement) -> bool:
    """True for a gate that has the change and judges by another clock, by which the pause has ended already, or its
    release has not begun."""
    if not said.store_us:
        return False
    if change.released_at_us is not None:
        return change.has_ramp and change.released_at_us - said.store_us > CLOCKS_AGREE_US
    return not change.awaits_approval and said.store_us >= change.expires_at_us > said.acknowledged_at_us


def is_lifted(change: Pause, lifted: Collection[str]) -> bool:
    """True for a change of a pause that should hold uploads, and that a gate does not obey, as its host's file lifts it."""
    return change.released_at_us is None and change.id in lifted


def acknowledges(accepted: Collection[str], latest: Iterable[str], digest: str) -> bool:
    """True if a gate with the newest fingerprints `latest` and this digest obeys the change that `accepted` proves."""
    return digest in accepted or any(one in accepted for one in latest)


def state_by(said: Acknowledgement, change: Pause, accepted: Collection[str]) -> GateState:
    """Whether a gate obeys the change that `accepted` proves, by what it says of itself."""
    obeys = acknowledges(accepted, said.latest, said.digest) and not is_lifted(change, said.lifted)
    if not obeys or clock_differs(change, said):
        return GateState.LATE
    return GateState.OBEYS if said.on_disk else GateState.NOT_ON_DISK


async def converged(store: BoardStore, change: Pause, deadline_s: float) -> Convergence:
    """Wait until every live gate obeys `change`, at most `deadline_s` seconds.

    A gate that stops acknowledging meanwhile counts as one that does not obey. Without a live gate it returns at once;
    but if the store has lost acknowledgements, or one cannot be read that was written just now, it waits until each gate
    had time for its next one. Raises StoreUnavailable.
    """
    clock = asyncio.get_running_loop().time
    began, rounds = clock(), 0
    waiting = _Waiting(change)
    while True:
        if rounds % _READ_BOARD_EVERY == 0:
            await _accept_stored(store, change, waiting.accepted)
        gates = await store.gates(HEARD_WITHIN_US)
        passed = clock() - began
        waiting.heard(gates, passed)
        result = waiting.result(gates, passed)
        all_known = gates.now_us - gates.known_since_us >= LIVE_WITHIN_US or not gates.acknowledgements
        may_mend = any(abs(gates.now_us - entry.at_us) <= LIVE_WITHIN_US for entry in result.unreadable)
        if (all_known and not result.missing and not may_mend) or passed >= deadline_s:
            return result
        rounds += 1
        await asyncio.sleep(min(POLL_S, deadline_s - passed))


class _Waiting:
    """The gates to wait for, by process, as far as they are known."""

    def __init__(self, change: Pause) -> None:
        self._change = change
        self._known: dict[str, GateResult] = {}
        self.accepted = {fingerprint(change)}

    def heard(self, gates: Gates, passed: float) -> None:
        """Update the known gates, and add those that have become live."""
        live = {said.process: said for said in gates.live()}
        names = {said.gate for said in live.values()}
        for said in without_replaced(gates.acknowledgements):
            known = self._known.get(said.process)
            if said.left or (said.process not in live and known is not None and not known.obeys and said.gate in names):
                self._known.pop(said.process, None)  # it has stopped, or another process of its name replaced it
            elif said.process in live or known is not None:
                self._known[said.process] = self._judged(said, known, passed)

    def result(self, gates: Gates, passed: float) -> Convergence:
        """The state of each gate now."""
        others = [said for said in without_replaced(gates.acknowledgements) if said.process not in self._known]
        names = {result.said.gate for result in self._known.values()}
        left = tuple(GateResult(said, GateState.LEFT) for said in others if said.left and said.gate not in names)
        unheard = tuple(
            GateResult(said, GateState.UNHEARD) for said in others if not said.left and said.gate not in names
        )
        return Convergence(
            self._change,
            tuple(self._known[process] for process in sorted(self._known)),
            left,
            unheard,
            passed,
            tuple(shared_names(gates.live())),
            unaccounted(gates),
            frozenset(self.accepted),
            gates.now_us,
        )

    def _judged(self, said: Acknowledgement, known: GateResult | None, passed: float) -> GateResult:
        state = state_by(said, self._change, self.accepted)
        if state is GateState.LATE:
            return known if known is not None and known.obeys else GateResult(said, state)
        return GateResult(said, state, passed if known is None or known.seconds is None else known.seconds)


async def _accept_stored(store: BoardStore, change: Pause, accepted: set[str]) -> None:
    """Accept the digest of the stored board if it holds the change, and the fingerprint of its revision of it."""
    try:
        board = await store.read()
    except StateUnreadable:
        return
    if board.holds(change):
        accepted |= {board_digest(board), fingerprint(board.pauses[change.id])}
