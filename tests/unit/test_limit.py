"""What an upload costs, how much a bucket holds, and how many units fit: exact numbers, rounded against the caller."""

from __future__ import annotations

import pytest

from gate.core.limits.limit import NEVER_US, EntityLimits, Limit, Rate, Room

SECOND_US = 1_000_000
NOW_US = 5 * SECOND_US
THREE_A_SECOND = Rate(3, SECOND_US, 10)
UPLOADS = Limit("account.uploads", THREE_A_SECOND)
BYTES = Limit("account.bytes", Rate(2_000_000, SECOND_US, 6_000_000), by_bytes=True)
SLOW_BYTES = Limit("account.bytes.day", Rate(10, SECOND_US, 40), by_bytes=True)
IN_FLIGHT = Limit("account.in_flight", Rate(1, SECOND_US, 4), in_flight=True)
NOTHING = Limit("account.none", Rate(0, SECOND_US, 0))


@pytest.mark.parametrize(
    ("rate", "units", "cost_us"),
    [
        (THREE_A_SECOND, 0, 0),
        (THREE_A_SECOND, 1, 333_334),
        (THREE_A_SECOND, 2, 666_667),
        (THREE_A_SECOND, 3, SECOND_US),
        (Rate(2_000_000, SECOND_US, 1), 1, 1),
        (Rate(0, SECOND_US, 10), 1, NEVER_US),
        (Rate(3, SECOND_US, 0), 1, NEVER_US),
    ],
)
def test_a_cost_is_rounded_up_to_whole_microseconds(rate: Rate, units: int, cost_us: int) -> None:
    assert rate.cost_us(units) == cost_us


def test_where_nothing_passes_an_upload_would_wait_71_years() -> None:
    year_us = 31_556_952 * SECOND_US

    assert NEVER_US // year_us == 71
    assert float(4 * NEVER_US - 1) == 4 * NEVER_US - 1


@pytest.mark.parametrize(
    ("rate", "tolerance_us"),
    [
        (Rate(2, SECOND_US, 6), 3 * SECOND_US),
        (THREE_A_SECOND, 3_333_340),
        (Rate(3, SECOND_US, 1 << 20), 333_334 << 20),
        (Rate(3, SECOND_US, 1 << 21), (SECOND_US << 21) // 3),
        (Rate(0, SECOND_US, 6), 0),
        (Rate(2, SECOND_US, 0), 0),
    ],
)
def test_a_burst_as_time_holds_that_many_uploads_at_their_rounded_cost(rate: Rate, tolerance_us: int) -> None:
    assert rate.tolerance_us == tolerance_us
    assert Limit("a", rate).tolerance_us == tolerance_us


@pytest.mark.parametrize(
    ("share", "part"),
    [
        (1.0, Rate(999, SECOND_US, 5_001)),
        (0.5, Rate(499, SECOND_US, 2_500)),
        (0.001, Rate(0, SECOND_US, 5)),
        (0.29, Rate(289, SECOND_US, 1_450)),
    ],
)
def test_a_part_of_a_rate_is_in_whole_units_and_never_more_than_its_share(share: float, part: Rate) -> None:
    assert Rate(999, SECOND_US, 5_001).part(share) == part


def test_a_limit_counts_uploads_refuses_and_is_not_leased_unless_it_says_otherwise() -> None:
    assert repr(UPLOADS) == (
        "Limit(name='account.uploads', rate=Rate(rate=3, per_us=1000000, burst=10), shadow=False, by_bytes=False, "
        "in_flight=False, lease=0, reserve_of='')"
    )


def test_the_four_bytes_that_name_a_limit_and_its_debt_in_stored_values_never_change() -> None:
    assert (UPLOADS.id.hex(), UPLOADS.debt_id.hex()) == ("5f8273a9", "4e6b1760")
    assert Limit.debt_of("account.uploads") == "account.uploads\0debt"


def test_a_limit_on_bytes_costs_by_size_and_any_other_one_unit() -> None:
    assert (UPLOADS.unit_us, UPLOADS.cost_us(9)) == (333_334, 333_334)
    assert (SLOW_BYTES.unit_us, SLOW_BYTES.cost_us(9)) == (100_000, 900_000)


def test_the_byte_rates_of_an_entity_are_those_of_its_limits_on_bytes_in_their_order() -> None:
    assert EntityLimits((UPLOADS, BYTES, IN_FLIGHT, SLOW_BYTES)).byte_rates == (BYTES.rate, SLOW_BYTES.rate)


@pytest.mark.parametrize(
    ("limit", "full_in_us", "left"),
    [
        (UPLOADS, -SECOND_US, 10),
        (UPLOADS, 0, 10),
        (UPLOADS, 1, 9),
        (UPLOADS, 333_334, 9),
        (UPLOADS, 333_335, 8),
        (UPLOADS, 3_333_340 - 333_334, 1),
        (UPLOADS, 3_333_340, 0),
        (UPLOADS, 4_000_000, 0),
        (BYTES, 0, 6_000_000),
        (BYTES, 3_000_000 - 1, 2),
        (BYTES, 3_000_000, 0),
        (SLOW_BYTES, 3_950_000, 0),
        (SLOW_BYTES, 3_850_000, 1),
        (NOTHING, 0, 0),
        (NOTHING, -SECOND_US, 0),
    ],
)
def test_units_fit_into_what_of_the_burst_is_not_used(limit: Limit, full_in_us: int, left: int) -> None:
    assert Room(limit, NOW_US + full_in_us).left(NOW_US) == left


def test_a_bucket_never_has_more_room_than_its_burst_in_units_though_its_time_is_rounded_up() -> None:
    fine = Limit("fine", Rate(2_999_999, SECOND_US, 7))

    assert fine.tolerance_us // fine.unit_us == 7
    assert Room(Limit("bytes", Rate(3_000_001, SECOND_US, 7), by_bytes=True), NOW_US).left(NOW_US) == 7


@pytest.mark.parametrize(("open_", "left"), [(3, 1), (4, 0), (6, 0)])
def test_a_limit_in_flight_has_room_for_what_is_not_open(open_: int, left: int) -> None:
    assert Room(IN_FLIGHT, NOW_US, open=open_).left(NOW_US) == left
    assert Room(IN_FLIGHT, NOW_US).left(NOW_US) == 4


def test_a_room_says_how_many_whole_units_the_lease_of_the_gate_holds() -> None:
    assert Room(BYTES, NOW_US).held == 0
    assert Room(UPLOADS, NOW_US, held_us=2 * 333_334 - 1).held == 1
    assert Room(SLOW_BYTES, NOW_US, held_us=299_999).held == 2
