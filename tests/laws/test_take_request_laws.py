"""A law of take requests: what the store refuses beforehand is what the decision refuses for the same account."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gate.core.account import Account
from gate.core.decide import LivePauses, decide
from gate.core.limits.limit import Rate
from gate.core.limits.take import TakeResult
from gate.core.media import Media
from gate.core.override import Override
from gate.core.policy import MOST_ATTEMPTS, LimitRule, Mode, OnStoreError, Policy, Subject, Thresholds, Unit
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.standing import Standing
from gate.policyfile import load_policy

NOW_US = 1_700_000_000_000_000
MAX_AGE_US = 1_000
REQUEST = CheckRequest("u-1", Account("a-1"), Media("image"))
few = st.sampled_from([None, 0.0, 0.25, 0.5, 0.75, 1.0])
times = st.integers(NOW_US - MAX_AGE_US - 2, NOW_US + 2)
overrides = st.builds(Override, st.booleans(), st.just("reason"), st.just("ada"), times)
standings = st.one_of(
    st.builds(Standing, st.none(), st.none(), st.none() | overrides),
    st.builds(Standing, few.filter(lambda risk: risk is not None), times, st.none() | overrides),
)


def policy_with(thresholds: Thresholds) -> Policy:
    return Policy(
        hash="h", classes=("regular",), default_class="regular", new_class=None, new_below_us=0, unverified_class=None,
        thresholds={"regular": thresholds}, limits=(), deny_accounts=frozenset(), reasons=(),
        max_score_age_us=MAX_AGE_US, upload_lifetime_us=1, deadline_us=1,
    )  # fmt: skip


@given(st.builds(Thresholds, few, few, few), standings)
def test_the_store_refuses_beforehand_exactly_whom_the_decision_refuses(
    thresholds: Thresholds, standing: Standing
) -> None:
    policy = policy_with(thresholds)
    request = policy.take_request(REQUEST, "regular", Pseudonyms(b"salt"))

    refused = request.class_limits.refuse(standing, NOW_US)

    result = TakeResult(standing, not refused, False, None, (), NOW_US)
    decision = decide(REQUEST, "regular", LivePauses(), policy, NOW_US, result)
    assert decision is not None
    assert decision.verdict.lets_in is not refused


@given(st.builds(Thresholds, few, few, few), st.floats(0.0, 1.0))
def test_the_risk_that_refuses_is_the_lowest_whose_verdict_does(thresholds: Thresholds, risk: float) -> None:
    verdict = thresholds.verdict_at(risk)

    refuses = verdict is not None and not verdict.lets_in

    assert refuses is (thresholds.refuse_at is not None and risk >= thresholds.refuse_at)


ACCOUNTS = st.builds(
    Account, st.just("a-1"), st.sampled_from((None, "regular", "trusted", "zzz")),
    st.sampled_from((None, datetime(2001, 1, 1, tzinfo=UTC), datetime(2026, 11, 27, tzinfo=UTC))), st.sampled_from((None, False)),
)  # fmt: skip
UPLOADS = st.builds(
    CheckRequest, st.just("u-1"), ACCOUNTS, st.builds(Media, st.sampled_from(("image", "hologram")), st.none() | st.just(7)),
    ip=st.sampled_from((None, "192.0.2.1", "2001:db8::1")), device=st.sampled_from((None, "d-1")),
)  # fmt: skip
BY_KIND = LimitRule(
    "images", Subject.ACCOUNT, Unit.UPLOADS, Mode.ENFORCE, OnStoreError.LOCAL, {"regular": Rate(1, 1_000_000, 1)},
    frozenset({"image"}),
)  # fmt: skip
POLICIES = (
    load_policy(None),
    policy_with(Thresholds()),
    replace(load_policy(None), limits=(BY_KIND,), assumed_bytes={"regular": 9}),
)


@given(
    st.sampled_from(POLICIES), st.lists(UPLOADS, max_size=3), st.sampled_from((0, 5, MOST_ATTEMPTS - 1, MOST_ATTEMPTS))
)
def test_the_requests_of_a_batch_are_those_that_each_check_would_make_alone(
    policy: Policy, uploads: list[CheckRequest], attempt: int
) -> None:
    now_us, names = 1_795_780_000_000_000, Pseudonyms(b"salt")

    together = policy.take_requests(uploads, names, now_us, attempt)

    alone = []
    for upload in uploads:
        attempt = attempt % MOST_ATTEMPTS + 1
        alone.append(policy.take_request(upload, policy.class_of(upload.account, now_us), names, None, attempt))
    assert together == alone
