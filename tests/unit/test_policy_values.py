"""The policy as a value: which limits, thresholds and class an upload meets, by tables of cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields

from gate.core.account import Account
from gate.core.decision import Verdict
from gate.core.limits.limit import Limit, Rate
from gate.core.media import Media
from gate.core.policy import (
    ANY_VALUE,
    EVERY_KIND,
    MOST_ATTEMPTS,
    KnownValues,
    LimitRule,
    Mode,
    OnStoreError,
    Policy,
    Subject,
    Thresholds,
    Unit,
)  # fmt: skip
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest

NOW_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
RATE = Rate(10, HOUR_US, 100)
NAMES = Pseudonyms(b"salt")


@pytest.mark.parametrize(
    ("thresholds", "lowest", "refuse_at"),
    [
        (Thresholds(), 2.0, None),
        (Thresholds(review=0.3), 0.3, None),
        (Thresholds(review=0.3, challenge=0.6), 0.3, 0.6),
        (Thresholds(review=0.3, challenge=0.6, deny=0.9), 0.3, 0.6),
        (Thresholds(deny=0.9), 0.9, 0.9),
        (Thresholds(challenge=0.9, deny=0.6), 0.6, 0.6),
        (Thresholds(deny=0.0), 0.0, 0.0),
    ],
)
def test_the_lowest_threshold_and_the_lowest_that_refuses(
    thresholds: Thresholds, lowest: float, refuse_at: float | None
) -> None:
    assert (thresholds.lowest, thresholds.refuse_at) == (lowest, refuse_at)


@pytest.mark.parametrize(
    ("risk", "verdict"),
    [
        (0.29, None), (0.3, Verdict.REVIEW), (0.59, Verdict.REVIEW), (0.6, Verdict.CHALLENGE), (0.9, Verdict.DENY),
        (1.0, Verdict.DENY),
    ],
)  # fmt: skip
def test_the_strictest_verdict_whose_threshold_is_reached(risk: float, verdict: Verdict | None) -> None:
    assert Thresholds(review=0.3, challenge=0.6, deny=0.9).verdict_at(risk) is verdict


def rule(name: str = "limit", subject: Subject = Subject.ACCOUNT, **more: Any) -> LimitRule:
    whole: dict[str, Any] = {
        "unit": Unit.UPLOADS, "mode": Mode.ENFORCE, "on_store_error": OnStoreError.LOCAL, "rates": {"new": RATE, "old": RATE},
    }  # fmt: skip
    return LimitRule(name, subject, **{**whole, **more})


@pytest.mark.parametrize(
    ("of", "limit"),
    [
        (rule(), Limit("limit", RATE)),
        (rule(mode=Mode.SHADOW), Limit("limit", RATE, shadow=True)),
        (rule(unit=Unit.BYTES), Limit("limit", RATE, by_bytes=True)),
        (rule(unit=Unit.IN_FLIGHT), Limit("limit", RATE, in_flight=True)),
        (rule(lease=5), Limit("limit", RATE)),
        (rule(subject=Subject.IP, lease=5), Limit("limit", RATE)),
        (rule(subject=Subject.DEVICE, lease=5), Limit("limit", RATE)),
        (rule(subject=Subject.CLASS), Limit("limit", RATE)),
        (rule(subject=Subject.CLASS, lease=5), Limit("limit", RATE, lease=5)),
        (rule(subject=Subject.PLATFORM, lease=None), Limit("limit", RATE, lease=None)),
    ],
)
def test_a_limit_says_what_its_rule_says_and_only_shared_ones_are_leased(of: LimitRule, limit: Limit) -> None:
    assert repr(of.limits_of("new")) == repr((limit,))


def test_a_share_that_is_reserved_for_one_class_leaves_the_rest_to_all() -> None:
    of = rule(subject=Subject.PLATFORM, lease=7, reserved={"new": 0.25, "other": 0.25})
    rest = Limit("limit", RATE.part(0.5), lease=7)
    own = Limit("limit reserved for new", RATE.part(0.25), lease=7, reserve_of="limit")

    assert repr(of.limits_of("old")) == repr((rest,))
    assert repr(of.limits_of("new")) == repr((own, rest))


def known(**more: frozenset[str]) -> KnownValues:
    listed = {"kinds": frozenset({"image"}), "surfaces": frozenset({"post"}), "countries": frozenset({"DE"})}
    return KnownValues(**{**listed, **more})


def check(kind: str = "image", surface: str | None = "post", country: str | None = "DE", **more: Any) -> CheckRequest:
    account = Account("a-1", **more.pop("account", {}))
    return CheckRequest("u-1", account, Media(kind, **more.pop("media", {})), surface=surface, country=country, **more)


@pytest.mark.parametrize(
    ("values", "request_", "unlisted"),
    [
        (known(), check(), ()),
        (known(), check("video"), ("kind",)),
        (known(), check(surface="chat"), ("surface",)),
        (known(), check(country="FR"), ("country",)),
        (known(), check("video", "chat", "FR"), ("kind", "surface", "country")),
        (known(), check(surface=None, country=None), ()),
        (known(), check("video", None, None), ("kind",)),
        (known(kinds=frozenset({"*"})), check("video"), ()),
        (known(kinds=frozenset({"*"})), check("video", "chat"), ("surface",)),
        (known(surfaces=frozenset({"*"})), check("video", "chat", "FR"), ("kind", "country")),
        (known(countries=frozenset({"*"})), check(country="FR"), ()),
        (known(kinds=frozenset({"image.*", "*.raw"})), check("image.png"), ()),
        (known(kinds=frozenset({"image.*", "*.raw"})), check("a.raw"), ()),
        (known(kinds=frozenset({"image.*", "*.raw"})), check("image"), ("kind",)),
        (known(kinds=frozenset({"image.*", "*.raw"})), check("imagexpng"), ("kind",)),
        (known(kinds=frozenset({"a*b"})), check("a\nb"), ()),
        (ANY_VALUE, check("x", "y", "ZZ"), ()),
    ],
)
def test_the_values_that_a_policy_does_not_list(
    values: KnownValues, request_: CheckRequest, unlisted: tuple[str, ...]
) -> None:
    assert values.unlisted(request_) == unlisted
    assert values.has_kind(request_.media.kind) == ("kind" not in unlisted)


def test_an_absent_kind_is_known() -> None:
    assert known().has_kind(None)
    assert not known().has_kind("")


def policy(*limits: LimitRule, **more: Any) -> Policy:
    thresholds: Mapping[str, Thresholds] = {
        "new": Thresholds(deny=0.5),
        "anyone": Thresholds(),
        "old": Thresholds(deny=0.9),
    }
    whole: dict[str, Any] = {
        "hash": "p", "classes": ("new", "anyone", "old"), "default_class": "old", "new_class": "new", "new_below_us": HOUR_US,
        "unverified_class": "anyone", "thresholds": thresholds, "limits": limits, "deny_accounts": frozenset(), "reasons": (),
        "max_score_age_us": 5, "upload_lifetime_us": 6, "deadline_us": 7,
    }  # fmt: skip
    return Policy(**{**whole, **more})


def made(ago_us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW_US - ago_us)


@pytest.mark.parametrize(
    ("account", "class_"),
    [
        ({"class_": "anyone"}, "anyone"),
        ({"class_": "unheard of"}, "old"),
        ({"class_": "unheard of", "verified": False}, "anyone"),
        ({}, "old"),
        ({"verified": True}, "old"),
        ({"verified": False}, "anyone"),
        ({"created_at": made(HOUR_US)}, "old"),
        ({"created_at": made(HOUR_US - 1)}, "new"),
        ({"created_at": made(HOUR_US - 1), "verified": False}, "new"),
        ({"created_at": made(HOUR_US), "verified": False}, "anyone"),
        ({"created_at": made(-5)}, "new"),
    ],
)
def test_the_class_of_an_account_is_the_stated_one_or_follows_from_age_and_verification(
    account: dict[str, Any], class_: str
) -> None:
    assert policy().class_of(Account("a", **account), NOW_US) == class_


def test_without_classes_for_new_and_unverified_accounts_they_are_as_all_others() -> None:
    plain = policy(new_class=None, unverified_class=None)

    assert plain.class_of(Account("a", created_at=made(0), verified=False), NOW_US) == "old"
    assert [plain.has_class(given) for given in ("new", "unheard of", None)] == [True, False, True]


LIMITS = (
    rule("own"), rule("by ip", Subject.IP), rule("by device", Subject.DEVICE), rule("by class", Subject.CLASS),
    rule("all", Subject.PLATFORM), rule("off", mode=Mode.OFF), rule("old alone", rates={"old": RATE}),
    rule("videos", kinds=frozenset({"video"})), rule("films", kinds=frozenset({"video", "film"})),
)  # fmt: skip
WITH_KINDS = policy(*LIMITS, known=known(kinds=frozenset({"image", "video", "film"})), unreported_returns=True)


@pytest.mark.parametrize(
    ("class_", "kind", "own"),
    [
        ("new", "image", ["own"]),
        ("old", "image", ["own", "old alone"]),
        ("new", "video", ["own", "videos", "films"]),
        ("new", "film", ["own", "films"]),
        ("new", "unheard of", ["own", "videos", "films"]),
    ],
)
def test_an_upload_meets_the_limits_of_its_class_and_kind_and_an_unknown_kind_all(
    class_: str, kind: str, own: list[str]
) -> None:
    limits = WITH_KINDS.take_request(check(kind), class_, NAMES).class_limits

    assert limits.account is not None
    assert [limit.name for limit in limits.account.limits] == own
    assert limits.ip is not None
    assert limits.device is not None
    assert [limit.name for limit in (*limits.ip.limits, *limits.device.limits)] == ["by ip", "by device"]
    assert [each.entity for each in limits.shared] == [f"class:{class_}", "platform"]
    assert (limits.max_score_age_us, limits.lifetime_us, limits.returns, limits.name) == (5, 6, True, class_)


def test_a_class_without_limits_has_none_and_ranks_as_the_policy_lists_it() -> None:
    (new, anyone, old) = policy(rule()).class_limits

    assert anyone.account is None
    assert [(each.name, each.rank, each.refuse_at, each.returns) for each in (new, anyone, old)] == [
        ("new", 0, 0.5, False), ("anyone", 1, None, False), ("old", 2, 0.9, False)
    ]  # fmt: skip


def test_each_kind_with_limits_of_its_own_has_limits_in_each_class_and_so_has_an_unknown_one() -> None:
    assert len(policy(rule()).class_limits) == 3
    assert len(WITH_KINDS.class_limits) == 3 * len({None, "video", "film", EVERY_KIND})


SIZED = replace(WITH_KINDS, assumed_bytes={"new": 77})


@pytest.mark.parametrize(
    ("class_", "media", "size"),
    [("new", {}, 77), ("old", {}, 0), ("new", {"bytes": 5}, 5), ("new", {"bytes": 0}, 0)],
)
def test_a_check_is_requested_with_pseudonyms_and_its_size_or_the_assumed_one(
    class_: str, media: dict[str, Any], size: int
) -> None:
    request = check(ip="203.0.113.9", device="d-1", media=media, account={"class_": class_})

    alone = SIZED.take_request(request, class_, NAMES, NOW_US, 9)
    (one, other) = SIZED.take_requests(
        [request, check(account={"created_at": made(1)})], NAMES, NOW_US, MOST_ATTEMPTS - 1
    )

    assert (alone.ip, alone.device, alone.size) == (NAMES.of_ip("203.0.113.9"), NAMES.of_device("d-1"), size)
    assert (alone.now_us, alone.attempt, alone.class_, alone.kind) == (NOW_US, 9, class_, "image")
    assert one == with_fields(alone, now_us=None, attempt=MOST_ATTEMPTS)
    assert (other.class_, other.ip, other.device, other.attempt) == ("new", None, None, 1)


def test_the_numbers_of_checks_fill_32_bits_and_begin_anew_with_1() -> None:
    assert MOST_ATTEMPTS == 2**32 - 1
    found = policy(rule()).take_requests([check()] * 3, NAMES, NOW_US, MOST_ATTEMPTS - 2)

    assert [request.attempt for request in found] == [MOST_ATTEMPTS - 1, MOST_ATTEMPTS, 1]


@pytest.mark.parametrize(("kind", "own"), [("image", ["own", "old alone"]), ("film", ["own", "old alone", "films"])])
def test_limits_of_another_class_by_override_keep_the_threshold_of_the_accounts_own(kind: str, own: list[str]) -> None:
    request = WITH_KINDS.take_request(check(kind), "new", NAMES)

    given = WITH_KINDS.with_limits_of(request, "old")

    assert given.class_limits.account is not None
    assert [limit.name for limit in given.class_limits.account.limits] == own
    assert (given.class_limits.name, given.class_limits.refuse_at, given.keep_limits) == ("old", 0.5, False)
    assert WITH_KINDS.with_limits_of(request, "new").class_limits is request.class_limits
    assert WITH_KINDS.with_limits_of(request, "unheard of") == with_fields(request, keep_limits=True)


def test_a_threshold_that_no_class_has_keeps_the_limits_as_they_are() -> None:
    request = WITH_KINDS.take_request(check(), "new", NAMES)
    paused = with_fields(request, class_="unheard of", class_limits=replace(request.class_limits, refuse_at=0.123))

    assert WITH_KINDS.with_limits_of(paused, "old").keep_limits
    assert not WITH_KINDS.with_limits_of(with_fields(paused, class_limits=request.class_limits), "old").keep_limits


def test_a_printed_value_of_a_policy_says_what_its_file_says() -> None:
    printed = repr((Thresholds(deny=0.5), known(), policy(rule())))

    assert not [name for name in ("_steps", "_any", "_exact", "_patterns", "_limits=", "_kinds") if name in printed]


@given(
    st.lists(st.floats(0.001, 0.24), min_size=1, max_size=4), st.integers(1, 1_000_000), st.integers(1, 1_000_000)
)  # fmt: skip
def test_what_is_reserved_and_the_rest_are_together_no_more_than_the_limit(
    shares: list[float], rate: int, burst: int
) -> None:
    classes = [f"c{n}" for n in range(len(shares))]
    whole = Rate(rate, 60_000_000, burst)
    rule = LimitRule(
        "platform", Subject.PLATFORM, Unit.UPLOADS, Mode.ENFORCE, OnStoreError.LOCAL, dict.fromkeys(classes, whole),
        reserved=dict(zip(classes, shares, strict=True)),
    )  # fmt: skip

    reserves = [rule.limits_of(class_)[0].rate for class_ in classes]
    rest = rule.limits_of(classes[0])[-1].rate

    assert sum(part.rate for part in (*reserves, rest)) <= rate
    assert sum(part.burst for part in (*reserves, rest)) <= burst
