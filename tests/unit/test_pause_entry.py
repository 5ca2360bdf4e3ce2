"""When a pause is in force, when it ramps and when it is over; whose change needs a second person; what a machine may."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.core.duration import DAY_US, HOUR_US
from gate.core.pause.entry import DEFAULT_DURATION_US, MAX_DURATION_US, Pause, PauseChange, Proposal
from gate.core.pause.four_eyes import (
    ALONE_BY_DEFAULT_US,
    BY_DEFAULT,
    WITHOUT_A_POLICY,
    TwoPersonRule,
    alone_until_us,
    broken_rules,
    unapproved_end_us,
)
from gate.core.pause.lease import MAX_LEASE_US, TOO_LONG_A_LEASE, lease_problem
from gate.core.pause.scope import NOBODY, Action, Exemption, InFlight, PauseMode, Scope

NOON_US = 1_800_000_000_000_000
END_US = NOON_US + HOUR_US
NEW = Scope(frozenset(("new",)))
PAUSE = Pause("p-1", 1, NEW, Action.STOP, "raid", "", "ann", NOON_US, END_US)
ON_RECEIPT = replace(PAUSE, starts_at_us=None)
WAITS = replace(PAUSE, proposal=Proposal(PauseChange.SET, "ann", NOON_US))


def released(at_us: int, pause: Pause = PAUSE) -> Pause:
    return replace(pause, released_at_us=at_us, ramp_us=100)


def test_a_pause_stops_all_that_it_matches_enforced_and_lets_uploads_end_unless_it_says_otherwise() -> None:
    assert Pause(
        "p-1", 1, NEW, Action.STOP, "raid", "", "ann", NOON_US, END_US, None, None, None, {}, 0.0, 100, NOBODY,
        PauseMode.ENFORCE, InFlight.DRAIN, 0, False, "", None, "", None, "", "", "", "",
    ) == PAUSE  # fmt: skip
    assert (DEFAULT_DURATION_US, MAX_DURATION_US) == (4 * HOUR_US, DAY_US)


@pytest.mark.parametrize(
    ("pause", "at_us", "active"),
    [
        (PAUSE, NOON_US, True),
        (PAUSE, NOON_US - 1, False),
        (PAUSE, END_US - 1, True),
        (PAUSE, END_US, False),
        (ON_RECEIPT, 0, True),
        (released(END_US - 1), NOON_US, False),
        (WAITS, NOON_US, False),
        (replace(PAUSE, proposal=Proposal(PauseChange.EXTEND, "ann", NOON_US)), NOON_US, True),
        (replace(PAUSE, mode=PauseMode.DRY_RUN), NOON_US, True),
    ],
)
def test_a_pause_is_in_force_from_its_start_until_it_expires_or_is_released(
    pause: Pause, at_us: int, active: bool
) -> None:
    assert pause.active(at_us) is active


def test_pauses_can_be_told_apart_in_a_set_whatever_fields_a_newer_release_added() -> None:
    assert len({PAUSE, replace(PAUSE), replace(PAUSE, rev=2, extra={"a": b"1"})}) == 2


def test_a_pause_begins_at_its_start_or_when_it_was_set() -> None:
    assert replace(PAUSE, set_at_us=1).begins_at_us == NOON_US
    assert replace(ON_RECEIPT, set_at_us=1).begins_at_us == 1
    assert ON_RECEIPT.begins_at_us is None


def test_a_pause_draws_by_its_salt_or_by_its_id() -> None:
    assert (PAUSE.drawn_by, replace(PAUSE, salt="first").drawn_by) == ("p-1", "first")


@pytest.mark.parametrize(("released_at_us", "ended_at_us"), [(END_US - 1, END_US - 1), (END_US + 1, END_US)])
def test_a_pause_ends_by_release_or_expiry_and_is_over_after_its_ramp(released_at_us: int, ended_at_us: int) -> None:
    assert released(released_at_us).ended_at_us == ended_at_us
    assert released(released_at_us).over_at_us == ended_at_us + 100
    assert (PAUSE.ended_at_us, PAUSE.over_at_us) == (END_US, END_US)


def test_a_pause_begins_later_while_its_start_is_to_come() -> None:
    assert PAUSE.begins_later(NOON_US - 1)
    assert not PAUSE.begins_later(NOON_US)
    assert not ON_RECEIPT.begins_later(0)
    assert not released(NOON_US - 5).begins_later(NOON_US - 1)


def test_a_pause_that_is_released_by_its_start_never_began() -> None:
    assert released(NOON_US - 1).never_began
    assert released(NOON_US).never_began
    assert not released(NOON_US + 1).never_began
    assert not PAUSE.never_began
    assert not released(0, ON_RECEIPT).never_began


@pytest.mark.parametrize(
    ("pause", "at_us", "ramping"),
    [
        (released(NOON_US + 10), NOON_US + 10, True),
        (released(NOON_US + 10), NOON_US + 9, True),
        (released(NOON_US + 10), NOON_US + 109, True),
        (released(NOON_US + 10), NOON_US + 110, False),
        (released(NOON_US - 1), NOON_US, False),
        (replace(released(NOON_US + 10), ramp_us=0), NOON_US + 10, False),
        (replace(released(NOON_US + 10), ramp_us=0), NOON_US + 9, False),
        (replace(released(NOON_US + 10), ramp_us=1), NOON_US + 10, True),
        (replace(released(NOON_US + 10), mode=PauseMode.DRY_RUN), NOON_US + 10, False),
        (replace(released(NOON_US + 10), proposal=WAITS.proposal), NOON_US + 10, False),
        (replace(PAUSE, ramp_us=100), END_US - 1, False),
        (replace(PAUSE, ramp_us=100), END_US, True),
        (replace(PAUSE, ramp_us=100), END_US + 100, False),
        (PAUSE, END_US, False),
    ],
)
def test_a_pause_ramps_from_its_end_until_it_is_over(pause: Pause, at_us: int, ramping: bool) -> None:
    assert pause.ramping(at_us) is ramping


ALL = frozenset(TwoPersonRule)
LONG, EARLY, EXEMPT, WIDE = TwoPersonRule
LONGEST = replace(PAUSE, expires_at_us=NOON_US + DAY_US)
TOO_LONG = replace(PAUSE, expires_at_us=NOON_US + DAY_US + 1)


@pytest.mark.parametrize(
    ("change", "pause", "broken"),
    [
        (PauseChange.SET, PAUSE, ()),
        (PauseChange.SET, LONGEST, ()),
        (PauseChange.SET, TOO_LONG, (LONG,)),
        (PauseChange.SET, replace(TOO_LONG, starts_at_us=None, set_at_us=NOON_US), (LONG,)),
        (PauseChange.SET, replace(TOO_LONG, starts_at_us=None), ()),
        (PauseChange.SET, replace(TOO_LONG, starts_at_us=NOON_US - DAY_US), (LONG,)),
        (PauseChange.SET, replace(LONGEST, starts_at_us=NOON_US - DAY_US), ()),
        (PauseChange.SET, replace(LONGEST, starts_at_us=NOON_US + 5), ()),
        (PauseChange.SET, replace(PAUSE, exempt=Exemption(verified=True)), (EXEMPT,)),
        (PauseChange.SET, replace(PAUSE, scope=Scope()), (WIDE,)),
        (PauseChange.SET, replace(TOO_LONG, scope=Scope(), exempt=Exemption(verified=True)), (LONG, EXEMPT, WIDE)),
        (PauseChange.SET, replace(PAUSE, scope=Scope(), mode=PauseMode.DRY_RUN), ()),
        (PauseChange.SET, replace(PAUSE, scope=Scope(), machine=True), ()),
        (PauseChange.RELEASE, replace(TOO_LONG, exempt=Exemption(verified=True)), (EARLY,)),
        (PauseChange.RELEASE, replace(PAUSE, scope=Scope()), (EARLY, WIDE)),
        (PauseChange.EXTEND, LONGEST, ()),
        (PauseChange.EXTEND, replace(LONGEST, starts_at_us=NOON_US - 1), (LONG,)),
        (PauseChange.EXTEND, replace(TOO_LONG, scope=Scope(), exempt=Exemption(verified=True)), (LONG, EXEMPT, WIDE)),
    ],
)
def test_these_changes_need_a_second_person(
    change: PauseChange, pause: Pause, broken: tuple[TwoPersonRule, ...]
) -> None:
    assert broken_rules(change, pause, ALL, NOON_US) == broken
    assert broken_rules(change, pause, (), NOON_US) == ()


def test_a_rule_that_the_policy_does_not_list_binds_nobody() -> None:
    wide = replace(TOO_LONG, scope=Scope())

    assert broken_rules(PauseChange.SET, wide, (WIDE,), NOON_US) == (WIDE,)
    assert broken_rules(PauseChange.SET, replace(PAUSE, starts_at_us=0, expires_at_us=DAY_US + 1), ALL) == (LONG,)
    assert broken_rules(PauseChange.SET, replace(PAUSE, starts_at_us=0, expires_at_us=DAY_US), ALL) == ()
    assert (ALL, {LONG}, HOUR_US) == (BY_DEFAULT, WITHOUT_A_POLICY, ALONE_BY_DEFAULT_US)


def test_a_person_acts_alone_from_when_the_pause_was_set_or_is_enforced() -> None:
    late_us = NOON_US + 5

    assert alone_until_us(PauseChange.SET, PAUSE, late_us, 100) == late_us + 100
    assert alone_until_us(PauseChange.SET, PAUSE, NOON_US - 5, 100) == NOON_US + 100
    assert alone_until_us(PauseChange.RELEASE, PAUSE, late_us, 100) == NOON_US + 100
    assert alone_until_us(PauseChange.RELEASE, ON_RECEIPT, late_us, 100) == late_us + 100


def test_the_first_end_of_a_pause_whose_rest_waits_for_a_second_person() -> None:
    def extends(until_us: int | None, **changes: object) -> Pause:
        proposal = Proposal(PauseChange.EXTEND, "ann", NOON_US, until_us)
        return replace(PAUSE, proposal=proposal, **changes)  # type: ignore[arg-type]

    later = extends(END_US + 9, expires_at_us=END_US + 5)

    assert unapproved_end_us([PAUSE, later, extends(END_US + 1)]) == END_US
    assert unapproved_end_us([later]) == END_US + 5
    assert unapproved_end_us([PAUSE, extends(END_US), extends(None), WAITS]) == 0
    assert unapproved_end_us([]) == 0


MACHINES = replace(PAUSE, machine=True, owner="alarm", expires_at_us=NOON_US + MAX_LEASE_US)


def test_a_machine_pauses_for_a_minute_with_the_ramp_and_renews_only_its_own() -> None:
    assert MAX_LEASE_US == 60_000_000
    assert lease_problem(MACHINES, None, NOON_US, False) is None
    assert lease_problem(MACHINES, MACHINES, NOON_US, False) is None
    assert lease_problem(MACHINES, None, NOON_US - 1, False) == TOO_LONG_A_LEASE
    assert lease_problem(replace(MACHINES, ramp_us=1), None, NOON_US, False) == TOO_LONG_A_LEASE
    assert "p-1, which ann set" in (lease_problem(MACHINES, PAUSE, NOON_US, True) or "")


def test_a_machine_pauses_the_whole_platform_only_if_the_policy_permits_it() -> None:
    wide = replace(MACHINES, scope=Scope())

    assert "only if the policy permits it" in (lease_problem(wide, None, NOON_US, False) or "")
    assert lease_problem(wide, None, NOON_US, True) is None
