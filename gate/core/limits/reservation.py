"""A reservation: what the store keeps of one answered upload, and what a report about it changes.

    OPEN ──committed──▶ COMMITTED     tokens are kept; byte limits are corrected to the real bytes
      │ ──failed──────▶ FAILED        everything is given back
      │ ──aborted─────▶ ABORTED       everything is given back
      │ ──unanswered──▶ ABORTED       by the gate itself: nobody got the answer
      └───expired─────▶ KEPT | RETURNED   at the end of its lifetime, as the policy says
    REFUSED                           nothing was taken; it only repeats the answer until its retry-after has passed

Only an OPEN reservation changes; the answer to every later report says how it was settled first. `settle` decides, and the
stores carry out its changes in one atomic step.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

import msgspec
from msgspec.structs import replace

from gate.core.limits.gcra import Refusal, Took
from gate.core.limits.limit import NEVER_US
from gate.core.standing import Standing


class ReservationState(IntEnum):
    """How the upload ended. The numbers are stored."""

    OPEN = 1
    COMMITTED = 2
    FAILED = 3
    ABORTED = 4
    REFUSED = 5
    KEPT = 6
    RETURNED = 7


MOST_HOLDERS: Final = 16
"""Checks that a reservation names as having its answer. Where there are more, none of them gives its tokens back."""
GIVEN_BACK: Final = frozenset((ReservationState.FAILED, ReservationState.ABORTED, ReservationState.RETURNED))
"""States in which the upload holds no tokens; a new check of it takes anew."""


class UploadOutcome(StrEnum):
    """How the upload ended, as a report says."""

    COMMITTED = "committed"
    FAILED = "failed"
    ABORTED = "aborted"


class SettledAs(StrEnum):
    """The state in which a report found the reservation."""

    SETTLED = "settled"
    REPEATED = "repeated"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Reservation(msgspec.Struct, frozen=True, gc=False):
    """One answered upload of an account. `what` is the fingerprint of what was checked.

    `attempt` names the check that took the tokens, 0 if that is not known. It alone has the answer, unless `holders` names the
    checks that have it, or `is_shared` says that checks have it which nobody has named. `refusal` is set where the state is
    REFUSED. `returns` says that its tokens are given back if nobody has reported it at `until_us`. `is_anew` says that an
    earlier reservation of the upload had ended, and may have been that of a check that thinks it failed.
    """

    what: str
    state: ReservationState
    attempt: int
    began_us: int
    until_us: int
    standing: Standing = Standing()
    shadow: tuple[str, ...] = ()
    took: tuple[Took, ...] = ()
    refusal: Refusal | None = None
    returns: bool = False
    is_shared: bool = False
    holders: tuple[int, ...] = ()
    is_anew: bool = False

    def held_by(self, attempt: int) -> Reservation | None:
        """The reservation after that check got its answer, None where it stays as it is."""
        if self.attempt == 0 or self.is_shared or attempt in self._holders:
            return None
        if attempt == 0 or len(self._holders) >= MOST_HOLDERS:
            return replace(self, is_shared=True, holders=())
        return replace(self, holders=(*self._holders, attempt))

    @property
    def _holders(self) -> tuple[int, ...]:
        return self.holders or (self.attempt,)

    def without(self, attempt: int) -> Reservation | None:
        """The reservation after that check gave up its answer. None: no other check has it. Unchanged: it did not have it."""
        if self.is_shared or attempt not in self._holders:
            return self
        others = tuple(each for each in self._holders if each != attempt)
        return replace(self, holders=others) if others else None

    def answers(self, now_us: int) -> bool:
        """Whether a check of the same upload gets this answer again. A clock that was set back ends a refusal."""
        if self.state is ReservationState.REFUSED and now_us < self.began_us:
            return False
        return now_us < self.until_us and self.state not in GIVEN_BACK


class Report(msgspec.Struct, frozen=True, gc=False):
    """A report about one upload. `bytes` is the real size, None where it is unknown or nothing was stored.

    With `began_us` it is about the reservation that began then, and about no later one of the same upload: a report that is
    sent twice must not give back what a new check took in between.
    """

    account: str
    upload_id: str
    outcome: UploadOutcome
    bytes: int | None = None
    began_us: int | None = None


class Unanswered(msgspec.Struct, frozen=True, gc=False):
    """The notice of a gate that nobody got the answer of its check. With that of the last check that has the answer, all is
    given back."""

    account: str
    upload_id: str
    attempt: int


class Expired(msgspec.Struct, frozen=True, gc=False):
    """The notice of a gate that the lifetime of a reservation is over."""

    account: str
    upload_id: str


Notice = Report | Unanswered | Expired


class Change(msgspec.Struct, frozen=True, gc=False):
    """A bucket whose TAT moves by `delta_us`, or, where `leaves`, a count in flight that ends now."""

    entity: str
    limit: str
    delta_us: int
    leaves: bool = False


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """The state in which a report found the reservation, its state afterwards (None: unknown), and when it began.
    `leased` are changes of tokens that the upload got from a lease. The gate that settles makes them in its own lease.
    `by_other` says of a notice that its check took nothing, as another check of the upload had.
    """

    settled: SettledAs
    state: ReservationState | None
    leased: tuple[Change, ...] = ()
    by_other: bool = False


class Settling(msgspec.Struct, frozen=True, gc=False):
    """The decision on a report: its settlement, the reservation to store (None: it stays as it is), and the changes in the
    store."""

    settlement: Settlement
    reservation: Reservation | None = None
    changes: tuple[Change, ...] = ()


_Due = tuple[Took, Change]
"""The amounts taken, and how they change."""

_UNKNOWN: Final = Settling(Settlement(SettledAs.UNKNOWN, None))
_STATES: Final = {
    UploadOutcome.COMMITTED: ReservationState.COMMITTED,
    UploadOutcome.FAILED: ReservationState.FAILED,
    UploadOutcome.ABORTED: ReservationState.ABORTED,
}
_EXPIRED: Final = frozenset((ReservationState.KEPT, ReservationState.RETURNED))


def settle(reservation: Reservation | None, notice: Notice, now_us: int) -> Settling:
    """What `notice` changes. It changes nothing unless the reservation is open; a late report finds it expired."""
    if reservation is None:
        return _UNKNOWN
    if reservation.state is ReservationState.REFUSED:
        may_have_taken = reservation.is_anew and isinstance(notice, Unanswered)  # a check may be sent more than once
        return Settling(Settlement(SettledAs.REPEATED, reservation.state)) if may_have_taken else _UNKNOWN
    if isinstance(notice, Report) and notice.began_us not in (None, reservation.began_us):
        return _UNKNOWN
    if isinstance(notice, Unanswered):
        return _given_up(reservation, notice.attempt, now_us)
    if (over := _over(reservation, now_us)) is not None:
        return over
    match notice:
        case Expired():
            return Settling(Settlement(SettledAs.REPEATED, reservation.state))
        case Report(outcome=UploadOutcome.COMMITTED):
            changes = _corrected(reservation, notice.bytes)
            return _ended(reservation, ReservationState.COMMITTED, SettledAs.SETTLED, changes)
        case Report():
            return _ended(reservation, _STATES[notice.outcome], SettledAs.SETTLED, _given_back(reservation))


def _over(reservation: Reservation, now_us: int) -> Settling | None:
    """The result if the reservation was settled before or its lifetime is over, whatever the notice; None if it is open."""
    if reservation.state is not ReservationState.OPEN:
        met = SettledAs.EXPIRED if reservation.state in _EXPIRED else SettledAs.REPEATED
        return Settling(Settlement(met, reservation.state))
    if now_us >= reservation.until_us:
        state = ReservationState.RETURNED if reservation.returns else ReservationState.KEPT
        return _ended(reservation, state, SettledAs.EXPIRED, _given_back(reservation) if reservation.returns else [])
    return None


def _given_up(reservation: Reservation, attempt: int, now_us: int) -> Settling:
    """A check gives up the answer."""
    by_other = attempt != reservation.attempt and reservation.attempt != 0 and not reservation.is_anew
    left = reservation.without(attempt)
    if left is reservation:
        return Settling(Settlement(SettledAs.REPEATED, reservation.state, by_other=by_other))
    settling = _over(reservation, now_us)
    if settling is None and left is not None:
        settling = Settling(Settlement(SettledAs.REPEATED, reservation.state), left)
    elif settling is None:
        settling = _ended(reservation, ReservationState.ABORTED, SettledAs.SETTLED, _given_back(reservation))
    return replace(settling, settlement=replace(settling.settlement, by_other=by_other))


def _ended(reservation: Reservation, state: ReservationState, met: SettledAs, changes: list[_Due]) -> Settling:
    is_shared = reservation.is_shared or bool(reservation.holders)
    ended = replace(reservation, state=state, took=(), is_shared=is_shared, holders=())
    leased = tuple(change for took, change in changes if took.leased)
    return Settling(Settlement(met, state, leased), ended, tuple(change for took, change in changes if not took.leased))


def _given_back(reservation: Reservation) -> list[_Due]:
    return [
        (took, Change(took.entity, took.limit, -took.cost_us, took.in_flight))
        for took in reservation.took
        if took.cost_us or took.in_flight
    ]


def _corrected(reservation: Reservation, real: int | None) -> list[_Due]:
    """The upload is no longer in flight, and each limit on bytes counts its real size."""
    taken_for = int(reservation.what.split("\n")[2])
    changes: list[_Due] = []
    for took in reservation.took:
        if took.in_flight:
            changes.append((took, Change(took.entity, took.limit, 0, leaves=True)))
        elif took.rate is not None and real is not None and real != taken_for:
            delta_us = min(took.rate.cost_us(real), NEVER_US) - took.cost_us
            if delta_us:
                changes.append((took, Change(took.entity, took.limit, delta_us)))
    return changes
