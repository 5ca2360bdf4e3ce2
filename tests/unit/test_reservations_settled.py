"""What a report or notice makes of a reservation, state by state, and for how long a check gets the same answer."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from gate.core.limits.gcra import Refusal, Took
from gate.core.limits.limit import NEVER_US, Rate
from gate.core.limits.reservation import (
    GIVEN_BACK,
    Change,
    Expired,
    Notice,
    Report,
    Reservation,
    ReservationState,
    SettledAs,
    Settlement,
    Settling,
    Unanswered,
    UploadOutcome,
    settle,
)
from gate.core.standing import Standing

NOW_US = 1_800_000_000_000_000
UNTIL_US = NOW_US + 600_000_000
A_BYTE_A_MS = Rate(1_000, 1_000_000, 10_000)
UPLOADS = Took("account:{a}", "uploads", 5_000)
BYTES = Took("ip:n", "bytes", 100_000, A_BYTE_A_MS)
IN_FLIGHT = Took("device:d", "at-once", 0, in_flight=True)
LEASED = Took("platform", "bytes", 100_000, A_BYTE_A_MS, leased=True)
NOTHING = Took("class:new", "bytes", 0, A_BYTE_A_MS)
OPEN = Reservation(
    "new\nimage\n100\nn\nd",
    ReservationState.OPEN,
    7,
    NOW_US,
    UNTIL_US,
    took=(UPLOADS, BYTES, IN_FLIGHT, LEASED, NOTHING),
)
ALL_BACK = (
    Change("account:{a}", "uploads", -5_000),
    Change("ip:n", "bytes", -100_000),
    Change("device:d", "at-once", 0, True),
)
COMMITTED, FAILED, ABORTED = (Report("a", "u", outcome) for outcome in UploadOutcome)
ANSWERED_LATE = replace(OPEN, is_shared=True)


def in_state(state: ReservationState) -> Reservation:
    return replace(OPEN, state=state, took=())


def ended(state: ReservationState, changes: tuple[Change, ...], leased: tuple[Change, ...], met: SettledAs) -> Settling:
    return Settling(Settlement(met, state, leased), in_state(state), changes)


def unchanged(met: SettledAs, state: ReservationState | None) -> Settling:
    return Settling(Settlement(met, state))


def test_a_reservation_says_only_what_it_was_given() -> None:
    assert Reservation("w", ReservationState.OPEN, 0, 1, 2) == Reservation(
        "w", ReservationState.OPEN, 0, 1, 2, Standing(), (), (), None, False, False
    )
    assert Change("a", "b", 1) == Change("a", "b", 1, False)
    assert [state.value for state in ReservationState] == [1, 2, 3, 4, 5, 6, 7]
    assert [state.name for state in ReservationState] == [
        "OPEN", "COMMITTED", "FAILED", "ABORTED", "REFUSED", "KEPT", "RETURNED",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("notice", "state"),
    [
        (FAILED, ReservationState.FAILED),
        (ABORTED, ReservationState.ABORTED),
        (Unanswered("a", "u", 7), ReservationState.ABORTED),
    ],
)
def test_an_upload_that_does_not_go_ahead_gives_everything_back(notice: Notice, state: ReservationState) -> None:
    leased = (Change("platform", "bytes", -100_000),)

    assert settle(OPEN, notice, UNTIL_US - 1) == ended(state, ALL_BACK, leased, SettledAs.SETTLED)


@pytest.mark.parametrize(
    ("real", "deltas"),
    [
        (None, (None, None, None)),
        (100, (None, None, None)),
        (99, (-1_000, -1_000, 99_000)),
        (101, (1_000, 1_000, 101_000)),
        (0, (-100_000, -100_000, None)),
    ],
)
def test_a_committed_upload_leaves_flight_and_counts_its_real_bytes(
    real: int | None, deltas: tuple[int | None, int | None, int | None]
) -> None:
    of_bytes, of_lease, of_nothing = deltas
    changes = [
        *([Change("ip:n", "bytes", of_bytes)] if of_bytes else []),
        Change("device:d", "at-once", 0, leaves=True),
        *([Change("class:new", "bytes", of_nothing)] if of_nothing else []),
    ]
    leased = (Change("platform", "bytes", of_lease),) if of_lease else ()

    settling = settle(OPEN, replace(COMMITTED, bytes=real), NOW_US)

    assert settling == ended(ReservationState.COMMITTED, tuple(changes), leased, SettledAs.SETTLED)


def test_a_correction_is_never_larger_than_the_cost_of_an_upload_that_fits_nowhere() -> None:
    settling = settle(replace(OPEN, took=(BYTES,)), replace(COMMITTED, bytes=1 << 60), NOW_US)

    assert settling.changes == (Change("ip:n", "bytes", NEVER_US - 100_000),)


@pytest.mark.parametrize("notice", [COMMITTED, FAILED, Expired("a", "u"), Unanswered("a", "u", 7)])
@pytest.mark.parametrize("late_us", [0, 1])
def test_what_comes_at_the_end_of_the_lifetime_finds_the_reservation_expired(notice: Notice, late_us: int) -> None:
    returns = replace(OPEN, returns=True)

    kept, returned = settle(OPEN, notice, UNTIL_US + late_us), settle(returns, notice, UNTIL_US + late_us)

    assert kept == ended(ReservationState.KEPT, (), (), SettledAs.EXPIRED)
    assert returned.settlement == Settlement(
        SettledAs.EXPIRED, ReservationState.RETURNED, (Change("platform", "bytes", -100_000),)
    )
    assert returned.changes == ALL_BACK
    assert returned.reservation == replace(returns, state=ReservationState.RETURNED, took=())


def test_a_notice_of_expiry_before_it_changes_nothing() -> None:
    assert settle(OPEN, Expired("a", "u"), UNTIL_US - 1) == unchanged(SettledAs.REPEATED, ReservationState.OPEN)


@pytest.mark.parametrize(
    ("state", "met"),
    [
        (ReservationState.COMMITTED, SettledAs.REPEATED),
        (ReservationState.FAILED, SettledAs.REPEATED),
        (ReservationState.ABORTED, SettledAs.REPEATED),
        (ReservationState.KEPT, SettledAs.EXPIRED),
        (ReservationState.RETURNED, SettledAs.EXPIRED),
    ],
)
def test_a_second_report_changes_nothing_and_says_how_the_upload_was_settled(
    state: ReservationState, met: SettledAs
) -> None:
    for notice in (COMMITTED, FAILED, Expired("a", "u"), Unanswered("a", "u", 7)):
        assert settle(in_state(state), notice, UNTIL_US + 5) == unchanged(met, state)


@pytest.mark.parametrize("known", [None, in_state(ReservationState.REFUSED)])
def test_an_upload_that_took_nothing_is_unknown(known: Reservation | None) -> None:
    assert settle(known, COMMITTED, NOW_US) == unchanged(SettledAs.UNKNOWN, None)


def test_a_report_about_an_earlier_reservation_of_the_upload_is_about_none_that_is_known() -> None:
    assert settle(OPEN, replace(FAILED, began_us=NOW_US - 1), NOW_US) == unchanged(SettledAs.UNKNOWN, None)
    assert settle(OPEN, replace(FAILED, began_us=NOW_US), NOW_US).settlement.settled is SettledAs.SETTLED


@pytest.mark.parametrize(
    ("reservation", "attempt", "met"),
    [(OPEN, 8, SettledAs.REPEATED), (ANSWERED_LATE, 7, SettledAs.REPEATED), (OPEN, 7, SettledAs.SETTLED)],
)
def test_a_check_that_nobody_heard_gives_back_only_what_it_alone_took(
    reservation: Reservation, attempt: int, met: SettledAs
) -> None:
    assert settle(reservation, Unanswered("a", "u", attempt), NOW_US).settlement.settled is met


@dataclass(frozen=True)
class AtTimes:
    before: bool
    within: bool
    after: bool


@pytest.mark.parametrize(
    ("state", "answers"),
    [
        *((state, AtTimes(True, True, False)) for state in ReservationState if state.value in (1, 2, 6)),
        *((state, AtTimes(False, False, False)) for state in ReservationState if state.value in (3, 4, 7)),
        (ReservationState.REFUSED, AtTimes(False, True, False)),
    ],
)
def test_a_check_gets_the_same_answer_while_the_upload_holds_its_tokens_or_its_refusal_lasts(
    state: ReservationState, answers: AtTimes
) -> None:
    reservation = replace(OPEN, state=state, refusal=Refusal("uploads", 1))

    assert AtTimes(*(reservation.answers(us) for us in (NOW_US - 1, NOW_US, UNTIL_US))) == answers
    assert reservation.answers(UNTIL_US - 1) == answers.within
    assert (state in GIVEN_BACK) == (not answers.within)
