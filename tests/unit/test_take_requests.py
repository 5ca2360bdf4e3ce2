"""Which buckets an upload takes from, which accounts the store is told to refuse, and what an answer says of tokens."""

from __future__ import annotations

import pytest

from gate.core.hot_facts import MetFact
from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate
from gate.core.limits.take import ClassLimits, RefusedByHot, TakeRequest, TakeResult
from gate.core.override import Override
from gate.core.standing import UNKNOWN, Standing

SECOND_US = 1_000_000
NOW_US = 1_800_000_000_000_000
DAY_US = 86_400 * SECOND_US
UPLOADS = EntityLimits((Limit("account.uploads", Rate(1, SECOND_US, 5)),))
BYTES = EntityLimits((Limit("ip.bytes", Rate(100, SECOND_US, 500), by_bytes=True),))
DEVICE = EntityLimits((Limit("device.bytes", Rate(7, SECOND_US, 70), by_bytes=True),))
SHARED = (EntityBuckets("platform", EntityLimits((Limit("platform.bytes", Rate(9, SECOND_US, 90), by_bytes=True),))),)


def limits(
    account: EntityLimits | None = None, ip: EntityLimits | None = None, device: EntityLimits | None = None,
    shared: tuple[EntityBuckets, ...] = (), refuse_at: float | None = 0.9,
) -> ClassLimits:  # fmt: skip
    return ClassLimits(account, ip, device, shared, refuse_at, DAY_US, 600 * SECOND_US)


ALL = limits(UPLOADS, BYTES, DEVICE, SHARED)


@pytest.mark.parametrize(
    ("class_limits", "ip", "device", "entities"),
    [
        (ALL, "n", "d", ["account:{a}", "ip:n", "device:d", "platform"]),
        (ALL, None, "d", ["account:{a}", "device:d", "platform"]),
        (ALL, "n", None, ["account:{a}", "ip:n", "platform"]),
        (limits(UPLOADS), "n", "d", ["account:{a}"]),
        (limits(None, BYTES, DEVICE), "n", "d", ["ip:n", "device:d"]),
        (limits(shared=SHARED), "n", "d", ["platform"]),
        (limits(), "n", "d", []),
    ],
)
def test_an_upload_takes_from_each_entity_that_is_known_and_has_limits(
    class_limits: ClassLimits, ip: str | None, device: str | None, entities: list[str]
) -> None:
    request = TakeRequest("a", "u", class_limits, ip, device)

    assert [each.entity for each in request.buckets] == entities


def test_each_entity_has_the_limits_of_its_kind() -> None:
    assert [each.limits for each in TakeRequest("a", "u", ALL, "n", "d").buckets] == [
        *(UPLOADS, BYTES, DEVICE, SHARED[0].limits)
    ]


def test_the_byte_rates_of_a_class_are_in_the_order_of_its_limits() -> None:
    assert limits(UPLOADS, None, DEVICE).entity_limits == (UPLOADS, DEVICE)
    assert ALL.entity_limits == (UPLOADS, BYTES, DEVICE, SHARED[0].limits)
    assert [rate.rate for rate in ALL.byte_rates] == [100, 7, 9]


def test_a_class_keeps_tokens_of_unreported_uploads_and_is_shed_first_unless_it_says_otherwise() -> None:
    assert (ALL.returns, ALL.name, ALL.rank, ALL.leased) == (False, "", 0, ())


def test_a_request_says_only_what_it_was_given() -> None:
    request = TakeRequest("a", "u", ALL)

    assert request == TakeRequest("a", "u", ALL, None, None, 0, None, None, "", None, 0, False)
    assert request.fingerprint == "\n\n0\n\n"


def test_the_fingerprint_is_of_what_is_uploaded_and_from_where() -> None:
    request = TakeRequest("a", "u", ALL, "n", "d", 7, NOW_US, None, "new", "image", attempt=9)

    assert request.fingerprint == "new\nimage\n7\nn\nd"


HOT = MetFact(0.9, "device:d", True)
HOT_FOR_NEW = MetFact(0.9, "device:d", False)
ALLOW, DENY = (Override(allow, "known", "ann", NOW_US + 1) for allow in (True, False))


@pytest.mark.parametrize(
    ("standing", "refuses"),
    [
        (UNKNOWN, False),
        (Standing(0.9, NOW_US), True),
        (Standing(0.89, NOW_US), False),
        (Standing(0.9, NOW_US, acts=False), False),
        (Standing(0.9, NOW_US - DAY_US), True),
        (Standing(0.9, NOW_US - DAY_US - 1), False),
        (Standing(0.9, NOW_US, ALLOW), False),
        (Standing(0.1, NOW_US, DENY), True),
        (Standing(0.1, NOW_US, Override(False, "farm", "ann", NOW_US)), False),
        (Standing(hot=HOT), True),
        (Standing(hot=HOT_FOR_NEW), True),
        (Standing(0.1, NOW_US, hot=HOT), True),
        (Standing(0.1, NOW_US, hot=HOT_FOR_NEW), False),
        (Standing(0.1, NOW_US - DAY_US - 1, hot=HOT_FOR_NEW), True),
        (Standing(0.1, NOW_US, ALLOW, hot=HOT), False),
        (Standing(0.1, NOW_US, hot=MetFact(0.89, "device:d", True)), False),
    ],
)
def test_an_account_is_refused_before_its_buckets_by_override_score_or_hot_fact(
    standing: Standing, refuses: bool
) -> None:
    assert limits().refuse(standing, NOW_US) is refuses


def test_a_class_whose_scores_refuse_nobody_refuses_by_override_alone() -> None:
    lenient = limits(refuse_at=None)

    assert not lenient.refuse(Standing(1.0, NOW_US, hot=HOT), NOW_US)
    assert lenient.refuse(Standing(override=DENY), NOW_US)


@pytest.mark.parametrize(
    ("hot", "refuse_at", "refused"),
    [
        (None, 0.9, RefusedByHot.NOBODY),
        (HOT, None, RefusedByHot.NOBODY),
        (HOT, 0.91, RefusedByHot.NOBODY),
        (HOT, 0.9, RefusedByHot.ANYBODY),
        (HOT_FOR_NEW, 0.9, RefusedByHot.UNSCORED),
    ],
)
def test_a_hot_fact_refuses_those_it_applies_to_from_the_refusing_risk_on(
    hot: MetFact | None, refuse_at: float | None, refused: RefusedByHot
) -> None:
    assert limits(refuse_at=refuse_at).refused_by(hot) is refused


def test_the_script_knows_whom_a_hot_fact_refuses_by_these_numbers() -> None:
    assert [each.value for each in RefusedByHot] == [0, 1, 2]
    assert [each.name for each in RefusedByHot] == ["NOBODY", "UNSCORED", "ANYBODY"]


@pytest.mark.parametrize(
    ("charged", "repeated", "resent", "took_now"),
    [
        (True, False, False, True),
        (True, True, False, False),
        (True, True, True, True),
        (False, False, False, False),
        (False, True, True, False),
    ],
)
def test_a_check_took_tokens_now_if_it_was_charged_first_or_is_sent_again(
    charged: bool, repeated: bool, resent: bool, took_now: bool
) -> None:
    assert TakeResult(UNKNOWN, charged, repeated, None, (), NOW_US, resent=resent).took_now is took_now


def test_an_answer_says_only_what_it_was_given() -> None:
    result = TakeResult(UNKNOWN, False, False, Refusal("account.uploads", 1), (), NOW_US)

    assert (result.room, result.conflict, result.limits_of, result.resent) == (None, False, None, False)
