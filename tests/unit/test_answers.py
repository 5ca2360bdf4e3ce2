"""What the store answers to a check and what it keeps of it: the model of the script, case by case."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gate.core.limits.answer import answered
from gate.core.limits.gcra import Flights, Refusal, Tats, Took
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate, Room
from gate.core.limits.reservation import Reservation, ReservationState
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.override import Override
from gate.core.standing import UNKNOWN, Standing

SECOND_US = 1_000_000
NOW_US = 1_800_000_000_000_000
LIFETIME_US = 600 * SECOND_US
UPLOADS = Limit("uploads", Rate(1, SECOND_US, 5))
SHADOW = Limit("shadow", Rate(1, SECOND_US, 0), shadow=True)
BYTES = Limit("bytes", Rate(1_000, SECOND_US, 10_000), by_bytes=True)
LEASED = EntityBuckets("platform", EntityLimits((UPLOADS, BYTES)))
LIMITS = ClassLimits(EntityLimits((UPLOADS, SHADOW)), None, None, (), 0.9, 10 * SECOND_US, LIFETIME_US, name="new")
REQUEST = TakeRequest("a", "u", LIMITS, size=100, class_="new", attempt=7)
KEY = ("account:{a}", "uploads")
TOOK = Took("account:{a}", "uploads", SECOND_US)
KNOWN = Standing(0.5, NOW_US, half_life_us=9, base=0.1)
OPEN = Reservation(
    REQUEST.fingerprint,
    ReservationState.OPEN,
    7,
    NOW_US - 5,
    NOW_US + 5,
    replace(KNOWN, half_life_us=0),
    ("shadow",),
    (TOOK,),
)


def answer(
    request: TakeRequest = REQUEST,
    standing: Standing = UNKNOWN,
    known: Reservation | None = None,
    tats: Tats | None = None,
) -> tuple[TakeResult, Reservation | None]:
    flights: Flights = {}
    return answered(request, standing, known, {} if tats is None else tats, flights, NOW_US)


def test_an_upload_that_is_let_in_takes_tokens_and_is_reserved_for_its_lifetime() -> None:
    tats: Tats = {}

    result, kept = answer(standing=KNOWN, tats=tats)

    assert result == TakeResult(KNOWN, True, False, None, ("shadow",), NOW_US, Room(UPLOADS, NOW_US + SECOND_US))
    assert kept == Reservation(
        "new\n\n100\n\n", ReservationState.OPEN, 7, NOW_US, NOW_US + LIFETIME_US, replace(KNOWN, half_life_us=0),
        ("shadow",), (TOOK,), None, False, False,
    )  # fmt: skip
    assert tats == {KEY: NOW_US + SECOND_US}


def test_a_class_may_return_tokens_of_uploads_that_nobody_reports() -> None:
    returning = ClassLimits(LIMITS.account, None, None, (), None, 0, LIFETIME_US, returns=True)

    kept = answer(replace(REQUEST, class_limits=returning))[1]

    assert kept is not None
    assert kept.returns


def test_tokens_from_leases_are_noted_beside_those_of_the_buckets() -> None:
    leasing = ClassLimits(LIMITS.account, None, None, (), None, 0, LIFETIME_US, leased=(LEASED,))

    kept = answer(replace(REQUEST, class_limits=leasing))[1]

    assert kept is not None
    assert kept.took == (
        TOOK,
        Took("platform", "uploads", SECOND_US, leased=True),
        Took("platform", "bytes", 100_000, BYTES.rate, leased=True),
    )


@pytest.mark.parametrize(
    "standing", [Standing(0.9, NOW_US), Standing(override=Override(False, "farm", "ann", NOW_US + 1))]
)
def test_an_account_that_its_standing_refuses_takes_nothing_even_where_it_had_an_answer(standing: Standing) -> None:
    tats: Tats = {}

    assert answer(standing=standing, known=OPEN, tats=tats) == (
        TakeResult(standing, False, False, None, (), NOW_US),
        None,
    )
    assert tats == {}


def gives(class_: str, until_us: int = NOW_US + 1) -> Standing:
    return Standing(override=Override(True, "festival", "ann", until_us, limits=class_))


def test_an_account_with_the_limits_of_another_class_takes_nothing_until_it_is_asked_by_those() -> None:
    standing = gives("trusted")
    tats: Tats = {}

    assert answer(standing=standing, tats=tats) == (
        TakeResult(standing, False, False, None, (), NOW_US, limits_of="trusted"), None,
    )  # fmt: skip
    assert tats == {}
    assert answer(replace(REQUEST, keep_limits=True), standing)[0].charged
    assert answer(standing=gives("new"))[0].charged
    assert answer(standing=gives("trusted", NOW_US))[0].charged


def test_a_refusal_is_kept_until_its_wait_is_over() -> None:
    tats: Tats = {KEY: NOW_US + 5 * SECOND_US}

    result, kept = answer(tats=tats)

    refusal = Refusal("uploads", SECOND_US)
    assert result == TakeResult(UNKNOWN, False, False, refusal, ("shadow",), NOW_US, None)
    assert kept == Reservation(
        "new\n\n100\n\n", ReservationState.REFUSED, 7, NOW_US, NOW_US + SECOND_US, refusal=refusal
    )
    assert tats == {KEY: NOW_US + 5 * SECOND_US}


def test_a_refusal_that_no_wait_ends_is_not_kept() -> None:
    never = ClassLimits(EntityLimits((Limit("uploads", Rate(0, SECOND_US, 0)),)), None, None, (), None, 0, LIFETIME_US)

    result, kept = answer(replace(REQUEST, class_limits=never))

    assert (result.charged, result.refusal, kept) == (False, Refusal("uploads", None), None)


def test_an_account_that_staff_let_in_is_refused_by_no_limit() -> None:
    allowed = Standing(override=Override(True, "known", "ann", NOW_US + 1))
    expired = Standing(override=Override(True, "known", "ann", NOW_US))
    full: Tats = {KEY: NOW_US + 5 * SECOND_US}

    assert answer(standing=allowed, tats=dict(full))[0].charged
    assert not answer(standing=expired, tats=dict(full))[0].charged


@pytest.mark.parametrize(
    ("attempt", "who", "is_shared", "resent", "change"),
    [
        (7, 7, False, True, None),
        (8, 7, False, False, {"holders": (7, 8)}),
        (8, 7, True, False, None),
        (7, 7, True, True, None),
        (7, 0, False, False, None),
        (0, 0, False, False, None),
        (0, 7, False, False, {"is_shared": True}),
    ],
)
def test_an_upload_that_was_let_in_gets_the_same_answer_and_takes_nothing(
    attempt: int, who: int, is_shared: bool, resent: bool, change: dict[str, Any] | None
) -> None:
    tats: Tats = {}
    known = replace(OPEN, attempt=who, is_shared=is_shared)
    override = Override(True, "festival", "ann", NOW_US + 1, limits="new")

    result, kept = answer(replace(REQUEST, attempt=attempt), replace(KNOWN, override=override, risk=0.7), known, tats)

    recorded = replace(KNOWN, half_life_us=0, override=override)
    assert result == TakeResult(recorded, True, True, None, ("shadow",), NOW_US - 5, resent=resent)
    assert kept == (None if change is None else replace(known, **change))
    assert tats == {}


def test_an_upload_that_was_refused_gets_the_rest_of_its_wait() -> None:
    known = Reservation(
        REQUEST.fingerprint, ReservationState.REFUSED, 7, NOW_US - 5, NOW_US + 3, refusal=Refusal("uploads", 8)
    )

    assert answer(known=known) == (TakeResult(UNKNOWN, False, False, Refusal("uploads", 3), (), NOW_US), None)
    assert answer(replace(REQUEST, attempt=8), known=known)[1] is None


def test_the_same_upload_with_other_content_is_a_conflict_and_changes_nothing() -> None:
    tats: Tats = {}

    assert answer(replace(REQUEST, size=101, attempt=8), known=OPEN, tats=tats) == (
        TakeResult(UNKNOWN, False, False, None, (), NOW_US, conflict=True), None,
    )  # fmt: skip
    assert tats == {}


def test_an_upload_whose_answer_is_over_takes_anew() -> None:
    tats: Tats = {}

    result, kept = answer(known=replace(OPEN, until_us=NOW_US), tats=tats)

    assert (result.charged, result.repeated) == (True, False)
    assert kept is not None
    assert kept.began_us == NOW_US
    assert tats == {KEY: NOW_US + SECOND_US}
