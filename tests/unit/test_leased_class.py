"""How uploads of a class get tokens from leases: the ways they may take, what each costs, and the room that is told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gate.core.limits.leased_class import MOST_WAYS, LeasedBatch, LeasedClass, LeasedWay, leased_class
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate, Room
from gate.core.limits.take import ClassLimits, TakeResult
from gate.core.limits.token_lease import TokenLease
from gate.core.standing import UNKNOWN

SECOND_US = 1_000_000
NOW_US = 1_800_000_000_000_000
RATE = Rate(1_000, SECOND_US, 10_000)
UPLOADS = Limit("uploads", RATE, lease=100)
BYTES = Limit("bytes", RATE, by_bytes=True, lease=100)
RESERVE = Limit("reserve", RATE, lease=100, reserve_of="uploads")
OWN = Limit("own", RATE)
IN_FLIGHT = Limit("at-once", RATE, in_flight=True, lease=100)


def limits(*each: Limit, entity: str = "platform") -> EntityBuckets:
    return EntityBuckets(entity, EntityLimits(each))


def class_of(*shared: EntityBuckets) -> LeasedClass | None:
    leases: dict[tuple[str, str], TokenLease] = {}

    def lease_of(entity: str, limit: Limit) -> TokenLease:
        return leases.setdefault((entity, limit.name), TokenLease(entity, limit, 0))

    return leased_class(ClassLimits(None, None, None, shared, 0.9, 1, 1, name="new"), lease_of)


def ways_of(*shared: EntityBuckets) -> list[list[str]]:
    found = class_of(*shared)
    return [[lease.limit.name for lease in way.leases] for way in found.ways] if found else []


def test_a_class_without_a_leased_limit_has_no_leases() -> None:
    assert class_of() is None
    assert class_of(limits(OWN, IN_FLIGHT)) is None


def test_a_class_has_one_way_through_all_its_leased_limits_or_two_where_a_part_is_reserved() -> None:
    assert ways_of(limits(UPLOADS, BYTES)) == [["uploads", "bytes"]]
    assert ways_of(limits(RESERVE, UPLOADS, BYTES)) == [["reserve", "bytes"], ["uploads", "bytes"]]
    assert ways_of(limits(RESERVE, UPLOADS), limits(BYTES, entity="class")) == [
        ["reserve", "bytes"],
        ["uploads", "bytes"],
    ]


def test_a_class_has_at_most_8_ways() -> None:
    many = [limits(RESERVE, UPLOADS, entity=f"class-{n}") for n in range(4)]

    assert MOST_WAYS == 8
    assert len(ways_of(*many)) == 8
    assert len(ways_of(*many[:2])) == 4


def test_the_store_takes_from_the_limits_that_are_not_leased_and_is_told_those_that_are() -> None:
    whole, mixed = limits(OWN, IN_FLIGHT, entity="class"), limits(UPLOADS, OWN, IN_FLIGHT)

    found = class_of(whole, mixed, limits(BYTES, entity="third"))

    assert found is not None
    remaining = found.ways[0].remaining
    assert remaining.shared[0] is whole
    assert [(each.entity, each.limits.limits) for each in remaining.shared[1:]] == [("platform", (OWN, IN_FLIGHT))]
    assert [(each.entity, each.limits.limits) for each in remaining.leased] == [
        ("platform", (UPLOADS,)), ("third", (BYTES,)),
    ]  # fmt: skip
    assert (remaining.name, remaining.refuse_at) == ("new", 0.9)


def way(*each: Limit, held_us: int = 5_000) -> LeasedWay:
    leases = tuple(TokenLease("platform", limit, 0) for limit in each)
    for lease in leases:
        lease.held_us, lease.low_us, lease.most_us = held_us, 2_000, 100_000
    return LeasedWay(leases, ClassLimits(None, None, None, (), None, 1, 1))


def test_an_upload_costs_a_lease_one_unit_or_its_bytes() -> None:
    assert way(UPLOADS).costs == way(UPLOADS).costs_of(7) == (1_000,)
    assert way(UPLOADS, BYTES).costs is None
    assert way(UPLOADS, BYTES).costs_of(7) == (1_000, 7_000)


@pytest.mark.parametrize(("costs", "has"), [((5_000, 5_000), True), ((5_001, 0), False), ((0, 5_001), False)])
def test_a_way_is_open_while_each_of_its_leases_holds_enough(costs: tuple[int, int], has: bool) -> None:
    assert way(UPLOADS, BYTES).has(costs) is has


@pytest.mark.parametrize(("costs", "is_low"), [((3_000, 0), False), ((3_001, 0), True), ((3_001, 1), True)])
def test_what_uploads_are_given_leaves_the_lease_and_counts_as_demand(costs: tuple[int, int], is_low: bool) -> None:
    given = way(UPLOADS, BYTES)
    first = given.leases[0]
    first.out_us, first.demand_us, first.demands = 10, 20, 30

    assert given.spend(costs, 4) is is_low

    assert (first.held_us, first.out_us) == (5_000 - costs[0], 10 + costs[0])
    assert (first.demand_us, first.demands) == (20 + costs[0], 34)


def test_uploads_that_did_not_use_their_tokens_give_them_back_to_the_lease() -> None:
    given = way(UPLOADS)
    given.spend((3_000,), 3)
    batch = LeasedBatch(given, 3)
    batch.used += 1

    batch.settle()

    assert (given.leases[0].held_us, given.leases[0].out_us) == (4_000, 0)


def test_the_scarcest_bucket_of_a_way_is_the_emptiest_that_refuses_and_is_no_reserve() -> None:
    shadow = Limit("shadow", RATE, shadow=True, lease=100)
    given = way(UPLOADS, BYTES, RESERVE, shadow)
    for share, lease in zip((0.5, 0.25, 0.1, 0.1), given.leases, strict=True):
        lease.share, lease.room = share, Room(lease.limit, NOW_US)

    given.note_scarce()
    emptiest = given.scarce, given.scarce_share
    given.leases[1].room = None
    given.note_scarce()

    assert emptiest == (Room(BYTES, NOW_US), 0.25)
    assert (given.scarce, given.scarce_share) == (Room(UPLOADS, NOW_US), 0.5)
    given.leases[0].room = None
    given.note_scarce()
    assert (given.scarce, given.scarce_share) == (None, 2.0)


ALLOWED = TakeResult(UNKNOWN, True, False, None, (), NOW_US)
HALF = Room(OWN, NOW_US + 5 * SECOND_US)
"""The room of a bucket that is half full."""


@pytest.mark.parametrize(("share", "told"), [(0.4, True), (0.5, False), (0.6, False)])
def test_an_answer_tells_the_room_of_a_leased_bucket_where_that_is_the_emptiest(share: float, told: bool) -> None:
    given = way(UPLOADS)
    given.scarce, given.scarce_share = Room(UPLOADS, NOW_US), share

    assert given.told(replace(ALLOWED, room=HALF)).room == (given.scarce if told else HALF)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (ALLOWED, True),
        (replace(ALLOWED, repeated=True), False),
        (replace(ALLOWED, charged=False), False),
    ],
)
def test_an_upload_that_took_only_from_leases_is_told_their_room(result: TakeResult, told: bool) -> None:
    given = way(UPLOADS)

    nothing_known = given.told(result)
    given.scarce = Room(UPLOADS, NOW_US)

    assert nothing_known is result
    assert given.told(result).room == (given.scarce if told else None)


def test_a_class_is_leased_while_each_lease_may_hold_something_and_wants_from_the_first_way_that_is_not_scarce() -> (
    None
):
    found = class_of(limits(RESERVE, UPLOADS, BYTES))
    assert found is not None
    reserve, by_bytes, uploads = found.leases

    off = found.is_on
    for lease in found.leases:
        lease.most_us = 1
    found.look()
    on = found.is_on
    first = found.wanting()
    reserve.is_scarce = True
    second = found.wanting()
    uploads.is_scarce = True

    assert (off, on) == (False, True)
    assert first == [reserve, by_bytes]
    assert second == [reserve, by_bytes, uploads]
    assert found.wanting() == [reserve, by_bytes, uploads]
    by_bytes.most_us = 0
    found.look()
    assert not found.is_on
