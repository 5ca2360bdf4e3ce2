"""How much a lease holds, when it draws, waits and gives back: at the bounds, to the µs."""

from __future__ import annotations

import pytest

from gate.core.limits.limit import Limit, Rate
from gate.core.limits.token_lease import Exchanged, TokenLease, most_held

SECOND_US = 1_000_000
LIMIT = Limit("platform.uploads", Rate(1_000, SECOND_US, 10_000), lease=100)
UNIT_US, MOST_US = LIMIT.unit_us, most_held(LIMIT, 1)


def a_lease(uploads: int = 0, window_us: int = SECOND_US) -> TokenLease:
    """A lease that has seen so many uploads in its first window, at the end of which it was looked at."""
    lease = TokenLease("platform", LIMIT, 0)
    lease.demands, lease.demand_us = uploads, uploads * UNIT_US
    lease.look(MOST_US, window_us)
    return lease


def drawn(lease: TokenLease, units: int, now_us: int, wanted: int) -> None:
    lease.begin(wanted * UNIT_US)
    lease.end(wanted * UNIT_US, Exchanged(units * UNIT_US, now_us + 4_000 * UNIT_US, now_us), now_us)


@pytest.mark.parametrize(("uploads", "target"), [(15, 0), (16, 16), (60, 60), (100, 100), (300, 100)])
def test_a_lease_holds_what_a_second_needs_from_16_uploads_on_and_never_more_than_it_may(
    uploads: int, target: int
) -> None:
    lease = a_lease(uploads)

    assert lease.target_us == target * UNIT_US
    assert lease.wanted(SECOND_US) == target * UNIT_US
    assert (lease.demands, lease.demand_us) == (0, 0)


def test_a_window_lasts_a_quarter_of_a_second() -> None:
    early, late = a_lease(10, 249_999), a_lease(10, 250_000)

    assert (early.target_us, early.demands) == (0, 10)
    assert late.target_us == 40 * UNIT_US


def test_a_lease_is_renewed_below_half_of_what_it_wants_and_counts_what_uploads_were_given() -> None:
    lease = a_lease(60)
    drawn(lease, 60, SECOND_US, 60)

    lease.held_us, lease.out_us = 30 * UNIT_US, 0
    enough = lease.wanted(SECOND_US)
    lease.held_us, lease.out_us = 29 * UNIT_US, 5 * UNIT_US
    low = lease.wanted(SECOND_US)

    assert enough == 0
    assert low == (60 - 29 - 5) * UNIT_US


def test_a_lease_of_uploads_wants_whole_ones_and_does_not_take_the_bucket_for_empty_where_it_lacks_less() -> None:
    lease = a_lease(60)
    lease.target_us += UNIT_US // 2
    lease.held_us, lease.out_us = 20 * UNIT_US, 40 * UNIT_US

    lacks_half = lease.wanted(SECOND_US)
    lease.out_us = 0
    lacks_more = lease.wanted(SECOND_US)

    assert (lacks_half, lacks_more) == (0, 40 * UNIT_US)


@pytest.mark.parametrize(("got", "waits_us"), [(30, 0), (29, SECOND_US), (0, SECOND_US)])
def test_a_bucket_that_gives_less_than_half_is_left_alone_for_a_second(got: int, waits_us: int) -> None:
    lease = a_lease(60)
    drawn(lease, got, SECOND_US, 60)
    lease.held_us = 0

    assert lease.is_scarce == (waits_us > 0)
    assert lease.wanted(SECOND_US + waits_us) == 60 * UNIT_US
    assert not waits_us or lease.wanted(SECOND_US + waits_us - 1) == 0


def test_after_a_call_that_failed_a_lease_waits_for_a_second() -> None:
    lease = a_lease(60)
    lease.begin(60 * UNIT_US)
    lease.end(60 * UNIT_US, None, SECOND_US)

    assert (lease.held_us, lease.room) == (0, None)
    assert lease.wanted(2 * SECOND_US - 1) == 0
    assert lease.wanted(2 * SECOND_US) == 60 * UNIT_US


def test_what_nobody_needs_goes_back_after_three_seconds() -> None:
    lease = a_lease(60)
    drawn(lease, 60, SECOND_US, 60)

    lease.look(MOST_US, SECOND_US + 250_000)
    early = lease.wanted(4 * SECOND_US - 1)
    late = lease.wanted(4 * SECOND_US)
    lease.begin(late)

    assert (early, late) == (0, -60 * UNIT_US)
    assert lease.all_us == 0


@pytest.mark.parametrize(("held", "out", "over"), [(99, 0, 0), (100, 0, 1), (60, 39, 0), (60, 40, 1)])
def test_what_comes_back_from_an_upload_goes_on_to_the_bucket_where_the_lease_is_full(
    held: int, out: int, over: int
) -> None:
    lease = a_lease(100)
    lease.held_us, lease.out_us = held * UNIT_US, out * UNIT_US

    lease.take_back(UNIT_US)

    assert lease.held_us == (held + 1 - over) * UNIT_US
    assert lease.all_us == (held + 1) * UNIT_US
    assert lease.wanted(SECOND_US) == -over * UNIT_US


def test_the_room_is_that_of_the_bucket_and_of_the_lease_together() -> None:
    lease = a_lease(60)

    drawn(lease, 60, SECOND_US, 60)

    assert lease.room is not None
    assert (lease.room.left(SECOND_US), lease.room.held) == (6_060, 60)
    assert lease.share == 0.606


def test_a_lease_on_bytes_needs_100_mib_and_one_in_a_long_period_a_whole_second() -> None:
    large, small, slow = (
        Limit("bytes", Rate(size, SECOND_US, 10 * size), by_bytes=True, lease=None)
        for size in (100 << 20, (100 << 20) - 1, 0)
    )
    hourly = Limit("hourly", Rate(360_000, 3_600 * SECOND_US, 100_000), lease=None)

    assert most_held(large, 1) == large.rate.cost_us(100 << 20)
    assert most_held(small, 1) == most_held(slow, 1) == 0
    assert most_held(hourly, 1) == 100 * hourly.unit_us
