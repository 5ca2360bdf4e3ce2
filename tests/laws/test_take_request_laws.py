"""A law of take requests: what the store refuses beforehand is what the decision refuses for the same account."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gate.core.account import Account
from gate.core.decide import LivePauses, decide
from gate.core.limits.take import TakeResult
from gate.core.media import Media
from gate.core.override import Override
from gate.core.policy import Policy, Thresholds
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.standing import Standing

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
