"""How much a lease holds, when it draws, waits and gives back: at the bounds, to the µs."""

from __future__ import annotations

import pytest

from gate.core.limits.gcra import Tats
from gate.core.limits.limit import Limit, Rate, Room
from gate.core.limits.token_lease import Exchange, Exchanged, TokenLease, exchange, most_held

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


@pytest.mark.parametrize(
    ("limit", "gates", "units"),
    [
        (Limit("a", Rate(1_000, SECOND_US, 10_000), lease=None), 0, 1_000),
        (Limit("a", Rate(1_000, SECOND_US, 10_000), lease=None), 1, 1_000),
        (Limit("a", Rate(1_000, SECOND_US, 10_000), lease=None), 4, 250),
        (Limit("a", Rate(1_000, SECOND_US, 10_000), lease=None), 10, 100),
        (Limit("a", Rate(1_000, SECOND_US, 10_000), lease=None), 11, 0),
        (Limit("a", Rate(120, SECOND_US, 10_000), lease=None), 1, 120),
        (Limit("a", Rate(10**7, 10**7, 10**8), lease=None), 1, 10**6),
        (Limit("a", Rate(1_000, SECOND_US, 10_000), lease=0), 1, 0),
        (Limit("a", Rate(1_000, SECOND_US, 10_000), lease=1), 9, 1),
        (Limit("a", Rate(1_000, SECOND_US, 10), lease=100), 1, 10),
        (Limit("a", Rate(0, SECOND_US, 10), lease=100), 1, 0),
        (Limit("a", Rate(10, SECOND_US, 0), lease=100), 1, 0),
    ],
)
def test_a_gate_holds_its_part_of_a_tenth_of_the_burst_or_what_the_policy_says(
    limit: Limit, gates: int, units: int
) -> None:
    assert most_held(limit, gates) == units * limit.unit_us * bool(units)


NOW_US = 100 * SECOND_US
BYTES = Limit("platform.bytes", Rate(1_000, SECOND_US, 10_000), by_bytes=True, lease=100)
"""A byte takes 1 ms, as an upload of LIMIT does."""


THREE = Limit("three", Rate(3, SECOND_US, 10))
THREE_BYTES = Limit("three", Rate(3, SECOND_US, 10), by_bytes=True)


def full_in(ms: int, limit: Limit = LIMIT) -> Tats:
    return {("platform", limit.name): NOW_US + 1_000 * ms}


@pytest.mark.parametrize(
    ("before", "wanted_us", "drawn_us", "after_ms"),
    [
        ({}, 5_000, 5_000, 5),
        (full_in(-50), 5_000, 5_000, 5),
        (full_in(3), 5_000, 5_000, 8),
        ({}, 5_999, 5_000, 5),
        (full_in(9_996), 5_000, 4_000, 10_000),
        (full_in(10_000), 5_000, 0, 10_000),
        (full_in(10_003), 5_000, 0, 10_003),
        (full_in(10_000 + 60_001), 5_000, 0, 10_000),
        (full_in(10_000 + 60_001), 0, 0, 10_000),
        (full_in(8), -5_000, -5_000, 3),
        (full_in(70_001), -1_000, -1_000, 70_000),
    ],
)
def test_an_exchange_moves_the_bucket_by_whole_uploads_that_it_has(
    before: Tats, wanted_us: int, drawn_us: int, after_ms: int
) -> None:
    tats = dict(before)

    met = exchange(tats, Exchange("platform", LIMIT, wanted_us), NOW_US)

    assert met == Exchanged(drawn_us, NOW_US + 1_000 * after_ms, NOW_US)
    assert tats == full_in(after_ms)


def test_what_is_given_back_to_a_bucket_that_is_full_or_was_forgotten_adds_nothing() -> None:
    forgotten: Tats = {}
    full = full_in(2)

    assert exchange(forgotten, Exchange("platform", LIMIT, -5_000), NOW_US) == Exchanged(-5_000, NOW_US, NOW_US)
    assert exchange(full, Exchange("platform", LIMIT, -5_000), NOW_US) == Exchanged(-5_000, NOW_US, NOW_US)
    assert (forgotten, full) == ({}, full_in(-3))


def test_a_draw_that_gets_nothing_leaves_no_bucket_behind() -> None:
    tats: Tats = {}

    assert exchange(tats, Exchange("platform", LIMIT, 999), NOW_US) == Exchanged(0, NOW_US, NOW_US)
    assert tats == {}


def test_bytes_are_drawn_to_the_microsecond() -> None:
    tats = full_in(9_996, BYTES)

    assert exchange(tats, Exchange("platform", BYTES, 3_999), NOW_US).us == 3_999
    assert tats == {("platform", "platform.bytes"): NOW_US + 9_999_999}
    assert exchange(tats, Exchange("platform", BYTES, 3_999), NOW_US).us == 1
    assert exchange(tats, Exchange("platform", BYTES, 3_999), NOW_US).us == 0


def test_a_new_lease_holds_and_wants_nothing() -> None:
    lease = TokenLease("platform", LIMIT, NOW_US)

    assert (lease.held_us, lease.out_us, lease.low_us, lease.target_us, lease.most_us) == (0, 0, 0, 0, 0)
    assert (lease.demand_us, lease.demands, lease.room, lease.share) == (0, 0, None, 1.0)
    assert not lease.is_scarce
    assert lease.is_over
    assert lease.wanted(NOW_US) == 0


@pytest.mark.parametrize(
    ("limit", "held_us", "held"),
    [
        (LIMIT, 1_000, 1),
        (THREE, 666_667, 1),
        (THREE_BYTES, 666_667, 2),
        (LIMIT, -1, 0),
        (LIMIT, 0, 0),
        (BYTES, 2_999, 2),
        (BYTES, -1, 0),
    ],
)
def test_a_lease_gives_out_whole_units_and_none_where_it_has_to_pay(limit: Limit, held_us: int, held: int) -> None:
    lease = TokenLease("platform", limit, 0)
    lease.held_us = held_us

    assert lease.held == held
    assert lease.all_us == max(0, held_us)


def test_a_lease_on_fast_bytes_holds_none_at_zero() -> None:
    lease = TokenLease("platform", Limit("fast", Rate(5_000_000, SECOND_US, 1), by_bytes=True), 0)

    assert lease.held == 0


@pytest.mark.parametrize(("held", "out", "surplus"), [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_a_lease_is_over_once_nothing_of_it_is_left_anywhere(held: int, out: int, surplus: int) -> None:
    lease = TokenLease("platform", LIMIT, 0)
    lease.held_us, lease.out_us = held, out
    lease.most_us = 0 if surplus else 10
    if surplus:
        lease.take_back(1)

    assert not lease.is_over


@pytest.mark.parametrize(
    ("us", "held_us", "all_us"),
    [(1, 100_000, 100_001), (2, 100_000, 100_002), (0, 100_000, 100_000), (-1, 99_999, 99_999)],
)
def test_a_lease_keeps_what_it_may_hold_and_the_rest_only_until_the_next_exchange(
    us: int, held_us: int, all_us: int
) -> None:
    lease = a_lease(100)
    lease.held_us = 100_000

    lease.take_back(us)

    assert (lease.held_us, lease.all_us) == (held_us, all_us)


def test_a_lease_that_may_hold_less_than_it_does_passes_on_only_what_comes_back() -> None:
    lease = a_lease(100)
    lease.held_us, lease.out_us = 40_000, 200_000

    lease.take_back(0)
    before = lease.held_us
    lease.take_back(1_000)

    assert (before, lease.held_us, lease.all_us) == (40_000, 0, 41_000)


def test_what_is_being_drawn_takes_up_room_of_the_lease_until_it_has_come() -> None:
    lease = a_lease(100)
    lease.held_us = 50_000
    lease.begin(50_000)

    lease.take_back(1_000)

    assert (lease.held_us, lease.all_us) == (50_000, 51_000)


def test_windows_follow_each_other_and_count_for_themselves() -> None:
    lease = TokenLease("platform", LIMIT, NOW_US)
    lease.demands, lease.demand_us = 20, 20_000

    lease.look(MOST_US, NOW_US + SECOND_US)
    first = lease.target_us
    lease.demands, lease.demand_us = 30, 30_001
    lease.look(MOST_US, NOW_US + 2 * SECOND_US)

    assert (first, lease.target_us, lease.low_us) == (20_000, 30_001, 15_000)


def test_what_uploads_need_in_a_second_is_counted_to_the_microsecond() -> None:
    lease = TokenLease("platform", LIMIT, 0)
    lease.demands, lease.demand_us = 2_000_000, 2_000_000

    lease.look(10**9, SECOND_US)

    assert lease.target_us == 2_000_000


@pytest.mark.parametrize(("per_window", "target_us"), [(15_999_999, 0), (16_000_000, 1_000)])
def test_a_lease_counts_16_uploads_a_second_exactly(per_window: int, target_us: int) -> None:
    lease = TokenLease("platform", LIMIT, 0)
    lease.demands, lease.demand_us = per_window, 1_000 * SECOND_US

    lease.look(MOST_US, SECOND_US * SECOND_US)

    assert lease.target_us == target_us


@pytest.mark.parametrize(("held_us", "wanted_us"), [(20_000, 0), (20_001, -10_001), (30_000, -20_000)])
def test_a_lease_is_idle_while_it_holds_more_than_twice_what_uploads_need(held_us: int, wanted_us: int) -> None:
    lease = a_lease(100)
    lease.target_us, lease.held_us = 10_000, held_us

    lease.look(MOST_US, SECOND_US + 1)

    assert lease.wanted(4 * SECOND_US) == wanted_us


def test_an_idle_lease_keeps_what_uploads_have_not_used_yet() -> None:
    lease = a_lease(100)
    lease.target_us, lease.held_us, lease.out_us = 10_000, 30_000, 90_000

    assert lease.wanted(SECOND_US) == -20_000


def test_a_lease_that_has_as_much_as_it_needs_wants_no_more() -> None:
    by_bytes = TokenLease("platform", BYTES, 0)
    by_bytes.most_us, by_bytes.target_us, by_bytes.low_us, by_bytes.out_us = MOST_US, 50_000, 25_000, 60_000

    assert by_bytes.wanted(1) == 0
    by_bytes.out_us = 10_001
    assert by_bytes.wanted(1) == 39_999


def test_what_is_over_is_given_back_first_from_what_may_not_be_given_out() -> None:
    lease = a_lease(100)
    lease.held_us = 100_000
    lease.take_back(3_000)

    lease.begin(-1_000)
    after_one = lease.held_us, lease.all_us
    lease.begin(-5_000)

    assert after_one == (100_000, 102_000)
    assert (lease.held_us, lease.all_us) == (97_000, 97_000)


@pytest.mark.parametrize(("may_have_run", "held_us"), [(True, 50_000), (False, 60_000)])
def test_what_was_to_be_given_back_is_lost_unless_the_call_never_left(may_have_run: bool, held_us: int) -> None:
    lease = a_lease(100)
    lease.held_us = 60_000
    lease.begin(-10_000)

    lease.end(-10_000, None, SECOND_US, may_have_run=may_have_run)

    assert lease.held_us == held_us
    assert not lease.is_scarce
    lease.most_us = held_us - 1_000
    assert lease.wanted(2 * SECOND_US - 1) == 0
    assert lease.wanted(2 * SECOND_US) == -1_000


def test_a_give_back_of_a_single_microsecond_that_never_left_comes_back() -> None:
    lease = a_lease(100)
    lease.held_us = 10
    lease.begin(-1)

    lease.end(-1, None, SECOND_US, may_have_run=False)

    assert lease.held_us == 10


def test_where_nothing_says_otherwise_a_call_that_failed_may_have_run() -> None:
    lease = a_lease(100)
    lease.held_us = 60_000
    lease.begin(-10_000)

    lease.end(-10_000, None, SECOND_US)

    assert lease.held_us == 50_000


def test_a_draw_that_never_left_brings_nothing() -> None:
    lease = a_lease(100)
    lease.begin(10_000)

    lease.end(10_000, None, SECOND_US, may_have_run=False)

    assert (lease.held_us, lease.all_us, lease.is_scarce) == (0, 0, True)


def test_a_draw_that_has_ended_takes_up_no_room() -> None:
    lease = a_lease(100)
    drawn(lease, 50, SECOND_US, 50)
    lease.take_back(50_000)

    assert (lease.held_us, lease.all_us) == (100_000, 100_000)


def test_a_draw_of_a_single_microsecond_is_a_draw() -> None:
    lease = TokenLease("platform", BYTES, 0)
    lease.most_us = MOST_US

    lease.begin(1)
    lease.end(1, Exchanged(1, NOW_US + 1, NOW_US), NOW_US)

    assert (lease.held_us, lease.all_us, lease.is_scarce) == (1, 1, False)

    lease.begin(1)
    lease.end(1, Exchanged(0, NOW_US + 1, NOW_US), NOW_US)

    assert lease.is_scarce


def test_a_give_back_neither_adds_to_the_lease_nor_makes_the_bucket_scarce() -> None:
    lease = a_lease(100)
    drawn(lease, 0, SECOND_US, 60)
    lease.held_us = 60_000
    lease.begin(-10_000)
    lease.end(-10_000, Exchanged(-10_000, SECOND_US + 4_000_000, SECOND_US), SECOND_US)

    assert (lease.held_us, lease.is_scarce) == (50_000, True)
    assert lease.room == Room(LIMIT, SECOND_US + 4_000_000 - 50_000, held_us=50_000)


def test_a_lease_that_has_to_pay_adds_no_room_to_its_bucket() -> None:
    lease = a_lease(100)
    lease.held_us = -5_000
    lease.begin(1_000)
    lease.end(1_000, Exchanged(1_000, SECOND_US + 10_000_000, SECOND_US), SECOND_US)

    assert lease.room == Room(LIMIT, SECOND_US + 10_000_000, held_us=0)
    assert lease.share == 0.0
