"""The bucket model in exact numbers: what is let through, how long a refusal lasts, and which values move."""

from __future__ import annotations

import pytest

from gate.core.limits.gcra import (
    GRACE_US,
    LATEST_TAT_US,
    Flights,
    Refusal,
    Taken,
    Tats,
    Took,
    believed_tat_us,
    rooms,
    take,
    take_reserved,
)
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate, Room

SECOND_US = 1_000_000
NOW_US = 1_000 * SECOND_US
END_US = NOW_US + 60 * SECOND_US
TEN = Limit("ten", Rate(1, SECOND_US, 10))
FIVE = Limit("five", Rate(1, 2 * SECOND_US, 5))
BYTES = Limit("bytes", Rate(100, SECOND_US, 1_000), by_bytes=True)
TWO_AT_ONCE = Limit("at-once", Rate(1, SECOND_US, 2), in_flight=True)


def bucket(*limits: Limit, of: str = "a") -> EntityBuckets:
    return EntityBuckets(of, EntityLimits(limits))


def full_in(seconds: float, limit: Limit = TEN) -> Tats:
    """A bucket of the entity that is full again in so many seconds."""
    return {("a", limit.name): NOW_US + int(seconds * SECOND_US)}


def shadow(limit: Limit) -> Limit:
    return Limit(limit.name, limit.rate, shadow=True)


def taken_from(tats: Tats, *limits: Limit, size: int = 0, never_refuse: bool = False, sharers: int = 1) -> Taken:
    buckets = (bucket(*limits),)
    return take_reserved(tats, {}, buckets, size, NOW_US, END_US, never_refuse=never_refuse, sharers=sharers)


def test_the_clock_may_step_back_a_minute_and_a_time_is_exact_as_a_double() -> None:
    assert GRACE_US == 60 * SECOND_US
    assert float(LATEST_TAT_US) == LATEST_TAT_US
    assert float(LATEST_TAT_US + 2) != LATEST_TAT_US + 2


@pytest.mark.parametrize(
    ("full_in_s", "after_s"), [(-5.0, 1.0), (0.0, 1.0), (0.5, 1.5), (8.999999, 9.999999), (9.0, 10.0)]
)
def test_an_upload_moves_the_time_by_one_interval_up_to_the_burst(full_in_s: float, after_s: float) -> None:
    tats = full_in(full_in_s)

    taken = taken_from(tats, TEN)

    assert taken.refusal is None
    assert taken.took == (Took("a", "ten", SECOND_US, rate=None, in_flight=False, leased=False),)
    assert tats == full_in(after_s)


@pytest.mark.parametrize(("full_in_s", "wait_us"), [(9.000001, 1), (9.5, 500_000), (10.0, SECOND_US)])
def test_a_refusal_says_when_the_same_upload_fits_and_moves_nothing(full_in_s: float, wait_us: int) -> None:
    tats = full_in(full_in_s)

    taken = taken_from(tats, TEN)

    assert taken == Taken(Refusal("ten", wait_us), ())
    assert tats == full_in(full_in_s)


def test_a_bucket_that_nobody_used_is_full() -> None:
    tats: Tats = {}

    assert take(tats, (bucket(TEN),), 0, NOW_US) == (None, ())
    assert tats == full_in(1.0)
    assert take_reserved(tats, {}, (bucket(TEN),), 0, NOW_US, END_US).took == (Took("a", "ten", SECOND_US),)


def test_without_reservations_a_take_answers_what_refused_and_what_only_counted() -> None:
    tats = full_in(10.0) | full_in(10.0, FIVE)

    assert take(tats, (bucket(shadow(TEN), FIVE),), 0, NOW_US) == (Refusal("five", 2 * SECOND_US), ("ten",))
    assert take(tats, (bucket(TEN),), 0, NOW_US, never_refuse=True) == (None, ())
    assert take({}, (bucket(TEN),), 0, NOW_US, sharers=10) == (None, ())
    assert take(full_in(1.0), (bucket(TEN),), 0, NOW_US, sharers=10) == (Refusal("ten", SECOND_US), ())


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_limits_that_refuse_the_longer_wait_is_answered_and_no_bucket_moves(turned: bool) -> None:
    free = Limit("free", TEN.rate)
    tats = full_in(10.0) | full_in(10.0, FIVE)
    before = dict(tats)

    taken = taken_from(tats, *([FIVE, TEN, free] if turned else [free, TEN, FIVE]))

    assert taken == Taken(Refusal("five", 2 * SECOND_US), ())
    assert tats == before


def test_of_two_equal_waits_the_first_is_answered() -> None:
    other = Limit("other", TEN.rate)

    assert taken_from(full_in(10.0) | full_in(10.0, other), TEN, other).refusal == Refusal("ten", SECOND_US)


@pytest.mark.parametrize("turned", [False, True])
def test_an_upload_beyond_a_burst_never_fits_whatever_another_limit_says(turned: bool) -> None:
    limits = [BYTES, FIVE]

    taken = taken_from(full_in(10.0, FIVE), *(reversed(limits) if turned else limits), size=1_001)

    assert taken.refusal == Refusal("bytes", None)


def test_an_upload_of_the_whole_burst_fits_and_waits_for_a_full_bucket() -> None:
    assert taken_from({}, BYTES, size=1_000).took == (Took("a", "bytes", 10 * SECOND_US, BYTES.rate),)
    assert taken_from(full_in(0.25, BYTES), BYTES, size=1_000).refusal == Refusal("bytes", 250_000)


def test_an_upload_of_no_bytes_costs_nothing_and_passes_an_empty_bucket() -> None:
    tats = full_in(10.0, BYTES)

    assert taken_from(tats, BYTES).took == (Took("a", "bytes", 0, BYTES.rate),)
    assert tats == full_in(10.0, BYTES)


def test_a_shadow_limit_is_named_keeps_its_time_and_lets_through() -> None:
    tats = full_in(10.0, FIVE)

    taken = taken_from(tats, TEN, shadow(FIVE))

    assert (taken.refusal, taken.shadow) == (None, ("five",))
    assert taken.took == (Took("a", "ten", SECOND_US),)
    assert tats == full_in(1.0) | full_in(10.0, FIVE)


def test_where_nothing_may_refuse_a_bucket_without_room_keeps_its_time() -> None:
    tats = full_in(9.5)

    taken = taken_from(tats, TEN, FIVE, never_refuse=True)

    assert (taken.refusal, taken.shadow) == (None, ())
    assert taken.took == (Took("a", "five", 2 * SECOND_US),)
    assert tats == full_in(9.5) | full_in(2.0, FIVE)


@pytest.mark.parametrize(
    ("tats", "limits", "room"),
    [
        ({}, (TEN, FIVE), Room(FIVE, NOW_US + 2 * SECOND_US)),
        (full_in(5.0), (TEN, FIVE), Room(TEN, NOW_US + 6 * SECOND_US)),
        (full_in(5.0), (shadow(TEN), FIVE), Room(FIVE, NOW_US + 2 * SECOND_US)),
        (full_in(9.0), (TEN, FIVE), Room(TEN, NOW_US + 10 * SECOND_US)),
        (full_in(-9.0), (FIVE, TEN), Room(FIVE, NOW_US + 2 * SECOND_US)),
        ({}, (TWO_AT_ONCE,), None),
        ({}, (TWO_AT_ONCE, TEN), Room(TEN, NOW_US + SECOND_US)),
    ],
)
def test_the_room_is_that_of_the_emptiest_bucket_after_the_upload(
    tats: Tats, limits: tuple[Limit, ...], room: Room | None
) -> None:
    assert taken_from(dict(tats), *limits).room == room


def test_of_two_buckets_that_are_as_empty_the_first_is_the_room() -> None:
    other = Limit("other", TEN.rate)

    assert taken_from({}, TEN, other).room == Room(TEN, NOW_US + SECOND_US)


def test_a_bucket_that_no_upload_uses_up_is_a_room_too() -> None:
    assert taken_from({}, BYTES).room == Room(BYTES, NOW_US)


@pytest.mark.parametrize(
    ("sharers", "full_in_s", "refusal"),
    [
        (2, 8.0, None),
        (2, 8.5, Refusal("ten", 500_000)),
        (10, 0.0, None),
        (10, 0.5, Refusal("ten", 500_000)),
        (20, 0.0, None),
        (20, 0.5, Refusal("ten", 500_000)),
    ],
)
def test_each_of_n_sharers_pays_n_times_and_always_has_room_for_one_upload(
    sharers: int, full_in_s: float, refusal: Refusal | None
) -> None:
    tats = full_in(full_in_s)

    taken = taken_from(tats, TEN, sharers=sharers)

    assert taken.refusal == refusal
    assert tats == full_in(full_in_s if refusal else full_in_s + sharers)


def test_a_burst_of_one_upload_is_one_for_each_of_two_sharers_too() -> None:
    one = Limit("one", Rate(1, SECOND_US, 1))

    assert taken_from({}, one, sharers=2).took == (Took("a", "one", 2 * SECOND_US),)
    assert taken_from(full_in(0.5, one), one, sharers=2).refusal == Refusal("one", 500_000)


def test_an_upload_beyond_a_burst_never_fits_for_a_sharer_either() -> None:
    assert taken_from({}, BYTES, size=1_001, sharers=2).refusal == Refusal("bytes", None)


RESERVE = Limit("reserve", Rate(1, SECOND_US, 4), reserve_of="rest")
REST = Limit("rest", Rate(1, SECOND_US, 10))


@pytest.mark.parametrize(
    ("reserve_s", "rest_s", "took", "refusal"),
    [
        (0.0, 0.0, ("reserve",), None),
        (3.0, 10.0, ("reserve",), None),
        (3.000001, 9.0, ("rest",), None),
        (3.5, 9.0, ("rest",), None),
        (3.5, 10.0, (), Refusal("rest", 500_000)),
        (4.0, 9.5, (), Refusal("rest", 500_000)),
        (4.0, 10.0, (), Refusal("rest", SECOND_US)),
    ],
)
def test_the_rest_of_a_limit_is_taken_from_where_its_reserve_has_no_room(
    reserve_s: float, rest_s: float, took: tuple[str, ...], refusal: Refusal | None
) -> None:
    tats = full_in(reserve_s, RESERVE) | full_in(rest_s, REST)

    taken = taken_from(tats, RESERVE, REST)

    assert tuple(each.limit for each in taken.took) == took
    assert taken.refusal == refusal


def test_a_reserve_spares_its_own_rest_and_no_later_limit() -> None:
    tats = full_in(10.0, REST) | full_in(10.0, FIVE)

    assert taken_from(dict(tats), RESERVE, REST, FIVE).refusal == Refusal("five", 2 * SECOND_US)
    assert [each.limit for each in taken_from(dict(tats), RESERVE, REST, TEN).took] == ["reserve", "ten"]


def test_a_reserve_without_room_does_not_shorten_the_wait_of_a_later_limit() -> None:
    tats = full_in(3.5, RESERVE) | full_in(10.0)

    assert taken_from(tats, RESERVE, REST, TEN).refusal == Refusal("ten", SECOND_US)


def test_a_reserve_that_never_has_room_leaves_the_rest() -> None:
    empty = Limit("reserve", Rate(1, SECOND_US, 0), reserve_of="rest")

    assert [each.limit for each in taken_from({}, empty, REST).took] == ["rest"]
    assert taken_from(full_in(10.0, REST), empty, REST).refusal == Refusal("rest", SECOND_US)


def test_a_reserve_has_room_where_the_rest_never_has() -> None:
    nothing = Limit("rest", Rate(1, SECOND_US, 0))
    tats = full_in(3.5, RESERVE)

    assert taken_from(tats, RESERVE, nothing).refusal == Refusal("rest", 500_000)


def flights_until(*seconds: float) -> Flights:
    return {("a", "at-once"): [NOW_US + int(each * SECOND_US) for each in seconds]}


@pytest.mark.parametrize(
    ("open_s", "refusal", "after_s"),
    [
        ((), None, (60.0,)),
        ((5.0,), None, (5.0, 60.0)),
        ((0.0, 5.0), None, (5.0, 60.0)),
        ((-1.0, 5.0), None, (5.0, 60.0)),
        ((90.0,), None, (60.0, 90.0)),
        ((5.0, 3.0), Refusal("at-once", 3 * SECOND_US), (5.0, 3.0)),
        ((5.0, 3.0, 9.0), Refusal("at-once", 5 * SECOND_US), (5.0, 3.0, 9.0)),
    ],
)
def test_as_many_reservations_are_open_at_once_as_the_burst_says(
    open_s: tuple[float, ...], refusal: Refusal | None, after_s: tuple[float, ...]
) -> None:
    flights = flights_until(*open_s)

    taken = take_reserved({}, flights, (bucket(TWO_AT_ONCE),), 0, NOW_US, END_US)

    assert taken.refusal == refusal
    assert taken.took == (() if refusal else (Took("a", "at-once", 0, in_flight=True),))
    assert flights == flights_until(*after_s)


def test_where_nothing_may_be_in_flight_no_wait_helps() -> None:
    none = Limit("at-once", Rate(1, SECOND_US, 0), in_flight=True)

    assert take_reserved({}, {}, (bucket(none),), 0, NOW_US, END_US).refusal == Refusal("at-once", None)


@pytest.mark.parametrize(
    ("full_in_s", "debt_in_s", "believed_s"),
    [
        (-1.0, None, 0.0),
        (10.0, None, 10.0),
        (70.0, None, 70.0),
        (70.000001, None, 10.0),
        (70.000001, 70.0, 10.0),
        (70.000001, 70.000001, 70.000001),
        (500.0, 900.0, 500.0),
    ],
)
def test_a_time_that_no_take_leaves_is_that_of_an_empty_bucket_unless_it_is_a_debt(
    full_in_s: float, debt_in_s: float | None, believed_s: float
) -> None:
    tats = full_in(full_in_s)
    if debt_in_s is not None:
        tats["a", Limit.debt_of("ten")] = NOW_US + int(debt_in_s * SECOND_US)

    assert believed_tat_us(tats, ("a", "ten"), 10 * SECOND_US, NOW_US) == NOW_US + int(believed_s * SECOND_US)
    assert tats["a", "ten"] == NOW_US + int((full_in_s if full_in_s < 0 else believed_s) * SECOND_US)


def test_a_refused_upload_leaves_a_bucket_whose_time_was_too_late_corrected() -> None:
    tats = full_in(1_000.0)

    assert taken_from(tats, TEN).refusal == Refusal("ten", SECOND_US)
    assert tats == full_in(10.0)


def test_all_rooms_are_told_in_order_and_nothing_moves() -> None:
    tats = full_in(4.0) | full_in(1_000.0, FIVE)
    flights = flights_until(0.0, 9.0, 3.0)
    before = dict(tats), flights_until(0.0, 9.0, 3.0)

    found = rooms(tats, flights, (bucket(TEN, TWO_AT_ONCE), bucket(FIVE), bucket(TWO_AT_ONCE, TEN, of="b")), NOW_US)

    assert found == (
        Room(TEN, NOW_US + 4 * SECOND_US),
        Room(TWO_AT_ONCE, NOW_US + 9 * SECOND_US, open=2),
        Room(FIVE, NOW_US + 10 * SECOND_US),
        Room(TWO_AT_ONCE, NOW_US),
        Room(TEN, NOW_US),
    )
    assert (tats, flights) == before


def test_the_room_of_a_bucket_whose_time_was_too_late_is_that_of_its_own_burst() -> None:
    one = Limit("one", Rate(1, SECOND_US, 1))

    assert rooms(full_in(1_000.0, one), {}, (bucket(one),), NOW_US) == (Room(one, NOW_US + SECOND_US),)


def test_an_upload_takes_from_the_buckets_of_all_its_entities_or_from_none() -> None:
    tats: Tats = {("b", "ten"): NOW_US + 10 * SECOND_US}

    assert take(tats, (bucket(TEN), bucket(TEN, of="b")), 0, NOW_US) == (Refusal("ten", SECOND_US), ())
    assert tats == {("b", "ten"): NOW_US + 10 * SECOND_US}
    assert take(tats, (bucket(TEN), bucket(TEN, of="c")), 0, NOW_US) == (None, ())
    assert (tats["a", "ten"], tats["c", "ten"]) == (NOW_US + SECOND_US, NOW_US + SECOND_US)
