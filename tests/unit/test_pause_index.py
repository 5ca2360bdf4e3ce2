"""Which pause holds an upload and until when, at the bounds of each of its conditions; and the lowest risk that is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import msgspec
import pytest

from gate.core.account import Account
from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.media import Media
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.index import EMPTY, Hit, index_of, refusing_risk, strictest
from gate.core.pause.ramp import position, returns_at_us, turn_opens_at_us
from gate.core.pause.scope import Action, Exemption, InFlight, PauseMode, Scope
from gate.core.request import CheckRequest

NOON_US = 1_800_000_000_000_000
NOON = datetime.fromtimestamp(NOON_US / 1_000_000, UTC)
END_US = NOON_US + HOUR_US
PAUSE = Pause("p-1", 1, Scope(), Action.STOP, "raid", "", "ann", None, END_US, set_at_us=NOON_US)
UPLOAD = CheckRequest("u", Account("a"), Media("image"), surface="post", country="DE")
PLACE = position("p-1", "a")
"""The place of the account among those that a pause of a share holds: below 0.5, as a test says."""


def hit(*pauses: Pause, upload: CheckRequest = UPLOAD, at_us: int = NOON_US, risk: float | None = None) -> Hit | None:
    return strictest(index_of(pauses, at_us), upload, "new", at_us, risk)


def holds(pause: Pause, upload: CheckRequest = UPLOAD, at_us: int = NOON_US, risk: float | None = None) -> bool:
    return hit(pause, upload=upload, at_us=at_us, risk=risk) is not None


def upload(**changes: Any) -> CheckRequest:
    of_account = {name: changes.pop(name) for name in ("class_", "created_at", "verified") if name in changes}
    return msgspec.structs.replace(UPLOAD, account=Account("a", **of_account), **changes)


def one(*values: str) -> frozenset[str]:
    return frozenset(values)


def test_without_pauses_nothing_is_held() -> None:
    assert strictest(EMPTY, UPLOAD, "new", NOON_US) is None
    assert index_of((), NOON_US) == EMPTY


def test_a_pause_without_a_start_holds_from_receipt_until_it_expires() -> None:
    assert hit(PAUSE) == Hit(PAUSE, HOUR_US)
    assert hit(PAUSE, at_us=0) == Hit(PAUSE, END_US)
    assert hit(PAUSE, at_us=END_US - 1) == Hit(PAUSE, 1)
    assert hit(PAUSE, at_us=END_US) is None


def test_a_pause_with_a_start_holds_from_then_on() -> None:
    later = replace(PAUSE, starts_at_us=NOON_US)

    assert [holds(later, at_us=NOON_US + us) for us in (-1, 0)] == [False, True]


@pytest.mark.parametrize(
    ("scope", "held"),
    [
        (Scope(one("new")), True),
        (Scope(one("zzz")), True),
        (Scope(one("regular")), False),
        (Scope(surfaces=one("post")), True),
        (Scope(surfaces=one("chat")), False),
        (Scope(kinds=one("image")), True),
        (Scope(kinds=one("video")), False),
        (Scope(countries=one("DE")), True),
        (Scope(countries=one("FR")), False),
        (Scope(accounts=one("a", "b")), True),
        (Scope(accounts=one("b")), False),
        (Scope(one("new"), one("post"), one("image"), one("DE"), one("a")), True),
        (Scope(one("new"), one("post"), one("image"), one("DE"), one("b")), False),
    ],
)
def test_a_pause_holds_uploads_with_all_values_of_its_scope_by_the_given_class_too(scope: Scope, held: bool) -> None:
    assert holds(replace(PAUSE, scope=scope), upload(class_="zzz")) is held
    other = replace(PAUSE, id="p-0", scope=Scope(kinds=one("sticker")))
    assert (hit(replace(PAUSE, scope=scope), other, upload=upload(class_="zzz")) is not None) is held


def test_each_upload_meets_the_pauses_of_its_own_values_and_those_that_name_none() -> None:
    scopes = [Scope(kinds=one("image")), Scope(kinds=one("video")), Scope(kinds=one("image", "audio")), Scope()]
    pauses = [replace(PAUSE, id=f"p-{n}", scope=scope, expires_at_us=END_US - n) for n, scope in enumerate(scopes)]

    def met(kind: str | None) -> str | None:
        found = hit(*pauses, upload=upload(media=Media(kind)))
        return found and found.pause.id

    assert [met(kind) for kind in ("image", "video", "audio", "file", None)] == ["p-0", "p-1", "p-2", "p-3", "p-3"]


def test_the_strictest_pause_decides_and_of_equally_strict_ones_the_longest_and_then_the_last_id() -> None:
    milder = [
        replace(PAUSE, id=action, action=action, expires_at_us=END_US + 9) for action in Action if action != "throttle"
    ]

    for n, pause in enumerate(milder):
        assert hit(*reversed(milder[n:])) == Hit(pause, HOUR_US + 9)
    assert hit(PAUSE, replace(PAUSE, id="p-0", expires_at_us=END_US + 1)) == Hit(
        replace(PAUSE, id="p-0", expires_at_us=END_US + 1), HOUR_US + 1
    )
    assert hit(PAUSE, replace(PAUSE, id="p-2")) == Hit(replace(PAUSE, id="p-2"), HOUR_US)


@pytest.mark.parametrize(("age_us", "held"), [(MINUTE_US - 1, True), (MINUTE_US, False), (-5, True)])
def test_a_pause_of_young_accounts_holds_those_of_a_known_age(age_us: int, held: bool) -> None:
    young = replace(PAUSE, scope=Scope(younger_than_us=MINUTE_US))

    assert holds(young, upload(created_at=NOON - timedelta(microseconds=age_us))) is held
    assert not holds(young)


@pytest.mark.parametrize(("risk", "held"), [(0.7, True), (0.69, False), (None, False), (1.0, True)])
def test_a_pause_from_a_risk_on_holds_accounts_whose_risk_counts(risk: float | None, held: bool) -> None:
    assert holds(replace(PAUSE, scope=Scope(risk_from=0.7)), risk=risk) is held


@pytest.mark.parametrize(
    ("exempt", "spared"),
    [
        (Exemption(one("new")), True),
        (Exemption(one("zzz")), True),
        (Exemption(one("regular")), False),
        (Exemption(surfaces=one("post")), True),
        (Exemption(surfaces=one("chat")), False),
        (Exemption(kinds=one("image")), True),
        (Exemption(kinds=one("video")), False),
        (Exemption(countries=one("DE")), True),
        (Exemption(countries=one("FR")), False),
        (Exemption(accounts=one("a")), True),
        (Exemption(accounts=one("b")), False),
        (Exemption(one("regular"), one("chat"), one("video"), one("FR"), one("b"), True), False),
    ],
)
def test_an_upload_with_any_value_of_an_exemption_is_left_alone(exempt: Exemption, spared: bool) -> None:
    assert holds(replace(PAUSE, exempt=exempt), upload(class_="zzz")) is not spared


@pytest.mark.parametrize(("verified", "spared"), [(True, True), (False, False), (None, False)])
def test_verified_accounts_are_left_alone_by_an_exemption_and_by_allow_only(
    verified: bool | None, spared: bool
) -> None:
    upload_ = upload(verified=verified)

    assert holds(replace(PAUSE, exempt=Exemption(verified=True)), upload_) is not spared
    assert holds(replace(PAUSE, action=Action.ALLOW_ONLY), upload_) is not spared
    assert holds(replace(PAUSE, exempt=Exemption(one("regular"))), upload_)
    assert holds(PAUSE, upload_)


@pytest.mark.parametrize(
    ("pause", "before_us", "held"),
    [
        (PAUSE, 1, False),
        (PAUSE, 0, True),
        (replace(PAUSE, in_flight=InFlight.ABORT), 1, True),
        (replace(PAUSE, set_at_us=None), 10**9, True),
        (replace(PAUSE, starts_at_us=NOON_US - 10), 10, True),
        (replace(PAUSE, starts_at_us=NOON_US - 10), 11, False),
    ],
)
def test_uploads_that_began_before_a_pause_that_drains_may_end(pause: Pause, before_us: int, held: bool) -> None:
    assert holds(pause, upload(started_at=NOON - timedelta(microseconds=before_us))) is held
    assert holds(pause)


def test_a_pause_of_a_share_holds_accounts_up_to_its_percent() -> None:
    percent = int(PLACE * 100)
    below, above = replace(PAUSE, percent=percent), replace(PAUSE, percent=percent + 1)

    assert 0.1 < PLACE < 0.9
    assert not holds(below)
    assert hit(above) == Hit(above, HOUR_US)
    assert holds(replace(PAUSE, id="p-9", salt="p-1", percent=percent + 1))
    assert not holds(replace(PAUSE, id="p-9", salt="p-1", percent=percent))


def test_a_pause_that_ramps_lets_each_account_in_again_at_its_own_moment() -> None:
    ramps = replace(PAUSE, ramp_us=MINUTE_US)
    back_us = returns_at_us(PLACE, 1.0, END_US, MINUTE_US)

    assert END_US < back_us < END_US + MINUTE_US
    assert hit(ramps, at_us=NOON_US) == Hit(ramps, back_us - NOON_US)
    assert hit(ramps, at_us=back_us - 5) == Hit(ramps, 5)
    assert hit(ramps, at_us=back_us + 1) is None
    assert hit(ramps, at_us=END_US + MINUTE_US) is None


def test_a_pause_of_a_share_that_ramps_lets_in_earlier() -> None:
    ramps = replace(PAUSE, percent=int(PLACE * 100) + 10, ramp_us=MINUTE_US)
    back_us = returns_at_us(PLACE, ramps.percent / 100, END_US, MINUTE_US)

    assert hit(ramps, at_us=back_us - 5) == Hit(ramps, 5)
    assert hit(ramps, at_us=back_us + 1) is None
    assert hit(ramps, at_us=NOON_US) == Hit(ramps, back_us - NOON_US)


def test_a_throttle_holds_an_account_until_its_turn_or_the_end() -> None:
    throttle = replace(PAUSE, action=Action.THROTTLE, factor=0.0)
    opens_us = turn_opens_at_us("p-1", "a", 0.0, NOON_US)

    assert opens_us is not None
    assert opens_us > END_US
    assert hit(throttle) == Hit(throttle, HOUR_US)
    assert not holds(replace(throttle, factor=1.0))
    assert holds(replace(PAUSE, factor=1.0))
    rare = replace(throttle, factor=0.05)
    turn_us = turn_opens_at_us("p-1", "a", 0.05, NOON_US)
    assert turn_us is not None
    assert hit(rare) == Hit(rare, min(turn_us, END_US) - NOON_US)


def test_a_pause_that_lets_in_within_a_microsecond_says_one() -> None:
    ramps = replace(PAUSE, ramp_us=1)

    assert hit(ramps, at_us=END_US) == Hit(ramps, 1)


@pytest.mark.parametrize(
    ("pause", "at_us", "kept"),
    [
        (PAUSE, END_US + HOUR_US - 1, True),
        (PAUSE, END_US + HOUR_US, False),
        (replace(PAUSE, ramp_us=5), END_US + HOUR_US + 4, True),
        (replace(PAUSE, proposal=Proposal(PauseChange.SET, "ann", NOON_US)), NOON_US, False),
        (replace(PAUSE, proposal=Proposal(PauseChange.EXTEND, "ann", NOON_US)), NOON_US, True),
        (replace(PAUSE, released_at_us=NOON_US), NOON_US, False),
        (replace(PAUSE, released_at_us=NOON_US, ramp_us=1), NOON_US, True),
        (replace(PAUSE, starts_at_us=NOON_US, released_at_us=NOON_US, ramp_us=5), NOON_US, False),
    ],
)
def test_an_index_has_the_pauses_that_can_still_hold_should_the_clock_be_set_back_by_an_hour(
    pause: Pause, at_us: int, kept: bool
) -> None:
    assert bool(index_of((pause,), at_us).entries) is kept


def lowest(*pauses: Pause, upload_: CheckRequest = UPLOAD, at_us: int = NOON_US) -> float | None:
    return refusing_risk(index_of(pauses, at_us), upload_, "new", at_us)


def by_risk(risk: float, id_: str = "p-1", **changes: Any) -> Pause:
    return replace(PAUSE, id=id_, scope=replace(changes.pop("scope", Scope()), risk_from=risk), **changes)


def test_the_lowest_risk_that_a_pause_refuses_is_told_whatever_their_order() -> None:
    assert lowest() is None
    assert lowest(PAUSE) is None
    assert lowest(by_risk(0.0)) == 0.0
    for risks in permutations((0.7, 0.5, 0.9)):
        assert lowest(*(by_risk(risk, f"p-{n}") for n, risk in enumerate(risks)), PAUSE) == 0.5


@pytest.mark.parametrize(
    "unfit",
    [
        by_risk(0.1, "p-9", action=Action.REVIEW),
        by_risk(0.1, "p-9", scope=Scope(one("regular"))),
        by_risk(0.1, "p-9", exempt=Exemption(one("new"))),
        by_risk(0.1, "p-9", starts_at_us=NOON_US + 1),
        by_risk(0.1, "p-9", expires_at_us=NOON_US),
    ],
)
def test_a_pause_that_only_reviews_or_does_not_hold_the_upload_refuses_no_risk(unfit: Pause) -> None:
    assert lowest(unfit) is None
    assert lowest(unfit, by_risk(0.8)) == lowest(by_risk(0.8), unfit) == 0.8


def test_a_dry_run_is_indexed_like_any_other_pause_as_its_caller_counts_it() -> None:
    assert holds(replace(PAUSE, mode=PauseMode.DRY_RUN))
