"""Which accounts a pause of a share holds, when they return, and how long a ramp lasts by itself: exact numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.pause.entry import Pause
from gate.core.pause.ramp import (
    MAX_RAMP_US,
    TURN_US,
    default_ramp_us,
    position,
    returns_at_us,
    share,
    sticky_salt,
    turn_opens_at_us,
)
from gate.core.pause.scope import Action, Scope

NOON_US = 1_800_000_000_000_000
TENTH = Pause("p-1", 1, Scope(frozenset(("new",))), Action.STOP, "raid", "", "ann", None, NOON_US, percent=10)


def test_the_place_of_an_account_never_changes_as_gates_of_all_releases_must_agree() -> None:
    places = [position("p-1", f"a-{n}") for n in range(3)]

    assert places == pytest.approx([0.4832479341, 0.2985218118, 0.5609170303], abs=1e-9)
    assert position("p-2", "a-0") != places[0]


def test_places_are_spread_over_the_whole_of_0_to_1() -> None:
    places = sorted(position("p-1", str(n)) for n in range(1_000))

    assert places[0] >= 0.0
    assert places[-1] < 1.0
    assert places[0] < 0.01
    assert places[-1] > 0.99


def test_a_salt_counts_up_to_64_bytes_and_any_account_has_a_place() -> None:
    assert position("s" * 64, "a") == position("s" * 65, "a")
    assert position("s" * 63, "a") != position("s" * 64, "a")
    assert 0.0 <= position("p-1", "\ud800") < 1.0


@pytest.mark.parametrize(
    ("wanted", "known", "salt"),
    [
        (TENTH, [], ""),
        (TENTH, [replace(TENTH, id="p-0")], "p-0"),
        (TENTH, [replace(TENTH, id="p-0", salt="first")], "first"),
        (TENTH, [TENTH], ""),
        (TENTH, [replace(TENTH, id="p-0", percent=99)], "p-0"),
        (TENTH, [replace(TENTH, id="p-0", percent=100)], ""),
        (TENTH, [replace(TENTH, id="p-0", scope=Scope())], ""),
        (replace(TENTH, percent=100), [replace(TENTH, id="p-0")], ""),
        (TENTH, [replace(TENTH, id="p-0", rev=2), replace(TENTH, id="p-9", rev=1)], "p-0"),
        (TENTH, [replace(TENTH, id="p-0"), replace(TENTH, id="p-9")], "p-9"),
    ],
)
def test_a_pause_of_a_share_holds_the_accounts_of_the_latest_one_of_its_scope(
    wanted: Pause, known: list[Pause], salt: str
) -> None:
    assert sticky_salt(wanted, known) == salt


@pytest.mark.parametrize(
    ("after_us", "ramp_us", "held"),
    [
        (-1, 100, 1.0),
        (0, 100, 1.0),
        (25, 100, 0.75),
        (100, 100, 0.0),
        (200, 100, 0.0),
        (-1, 0, 1.0),
        (0, 0, 0.0),
        (0, 1, 1.0),
    ],
)
def test_a_pause_holds_all_its_accounts_until_its_end_and_none_after_its_ramp(
    after_us: int, ramp_us: int, held: float
) -> None:
    assert share(NOON_US + after_us, NOON_US, ramp_us) == held


@pytest.mark.parametrize(
    ("place", "held", "after_us"), [(0.0, 1.0, 1_000), (0.25, 1.0, 750), (0.25, 0.5, 500), (0.5, 0.5, 0)]
)
def test_an_account_returns_once_the_bound_has_fallen_to_its_place(place: float, held: float, after_us: int) -> None:
    assert returns_at_us(place, held, NOON_US, 1_000) == NOON_US + after_us


@pytest.mark.parametrize(
    ("in_force_s", "ramp_s"), [(99, 0), (100, 10), (109, 10), (110, 11), (5_999, 599), (6_000, 600), (90_000, 600)]
)
def test_a_ramp_is_a_tenth_in_whole_seconds_from_10_seconds_to_10_minutes(in_force_s: int, ramp_s: int) -> None:
    assert default_ramp_us(in_force_s * 1_000_000) == ramp_s * 1_000_000
    assert default_ramp_us(99_999_999) == 0
    assert MAX_RAMP_US == HOUR_US


def test_a_throttle_opens_by_whole_minutes_for_a_share_of_the_accounts() -> None:
    open_now = [turn_opens_at_us("p-1", str(n), 0.25, NOON_US) for n in range(1_000)].count(None)

    assert TURN_US == MINUTE_US
    assert 200 < open_now < 300


@pytest.mark.parametrize("late_us", [0, 1, MINUTE_US - 1])
def test_a_closed_throttle_says_the_turn_at_which_it_opens(late_us: int) -> None:
    now_us = NOON_US + late_us

    for n in range(50):
        opens_us = turn_opens_at_us("p-1", str(n), 0.25, now_us)
        first = next(turn for turn in range(200) if position(f"{NOON_US // MINUTE_US + turn}:p-1", str(n)) < 0.25)
        assert opens_us == (NOON_US + first * MINUTE_US if first else None)


def test_a_throttle_that_is_always_closed_names_the_turn_after_120_of_them() -> None:
    assert turn_opens_at_us("p-1", "a", 0.0, NOON_US + 7) == NOON_US + 120 * MINUTE_US
    assert turn_opens_at_us("p-1", "a", 1e-12, NOON_US + 7) == NOON_US + 120 * MINUTE_US
    assert turn_opens_at_us("p-1", "a", 1.0, NOON_US + 7) is None


def test_an_account_at_the_bound_of_a_throttle_waits() -> None:
    place = position(f"{NOON_US // MINUTE_US}:p-1", "a")

    assert turn_opens_at_us("p-1", "a", place, NOON_US) is not None
    assert turn_opens_at_us("p-1", "a", place + 1e-9, NOON_US) is None
