"""Laws of a score that decays: it only falls, halves its evidence in time, and never sinks below the base."""

import asyncio
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.account import Account
from gate.core.decide import LivePauses, decide
from gate.core.duration import DAY_US, HOUR_US
from gate.core.limits.take import TakeResult
from gate.core.media import Media
from gate.core.policy import Policy, Thresholds
from gate.core.request import CheckRequest
from gate.core.score import Score, Stamp, risk_at
from gate.ports.takes import TakeStore
from gate.records.score import with_bytes
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from tests.take_requests import MINUTE_US, NOW_US, WallClock, per_minute, take_request

risks = st.integers(0, 1_000_000).map(lambda millionths: millionths / 1_000_000)
half_lives = st.integers(1, 90 * DAY_US)
ages = st.integers(0, 400 * DAY_US)


@given(risks, risks, half_lives, ages, ages)
def test_a_risk_only_falls_and_never_below_the_base(
    risk: float, base: float, half_life_us: int, first: int, then: int
) -> None:
    early = risk_at(risk, 0, half_life_us, base, first)
    late = risk_at(risk, 0, half_life_us, base, first + then)

    assert late <= early + 1e-12
    assert early <= risk
    assert late >= min(risk, base) - 1e-6  # as far as a risk stays away from 0 and 1


@given(risks, risks, half_lives, ages, ages)
def test_decaying_in_two_steps_is_decaying_in_one(
    risk: float, base: float, half_life_us: int, first: int, then: int
) -> None:
    halfway = risk_at(risk, 0, half_life_us, base, first)

    assert risk_at(halfway, first, half_life_us, base, first + then) == pytest.approx(
        risk_at(risk, 0, half_life_us, base, first + then), abs=2e-6
    )


@given(risks, ages)
def test_a_score_without_a_half_life_never_decays(risk: float, age: int) -> None:
    assert risk_at(risk, 0, 0, 0.0, age) == risk


def test_evidence_halves_with_every_half_life() -> None:
    """Even odds above a base of 1:99 are worth 4.6 in log odds: a half-life later 2.3, which is about 1:10."""
    assert risk_at(0.5, 0, HOUR_US, 0.01, HOUR_US) == pytest.approx(0.0913, abs=1e-4)
    assert risk_at(0.5, 0, HOUR_US, 0.01, 100 * HOUR_US) == pytest.approx(0.01)


def test_a_risk_of_one_decays_as_well() -> None:
    assert risk_at(1.0, 0, HOUR_US, 0.01, 3 * HOUR_US) < 0.1


decaying = st.builds(
    lambda risk, base, half_life_us, age, acts: Score(
        "a", 0, 0, risk, (), NOW_US - age, NOW_US, Stamp("e", 1), "s", {}, half_life_us, base, acts
    ),
    risks,
    risks,
    st.just(0) | st.integers(MINUTE_US, 10 * DAY_US),
    st.integers(-DAY_US, 2 * DAY_US),
    st.sampled_from([True, True, True, False]),
)
near = st.sampled_from([-1e-15, 0.0, 1e-15]) | st.floats(-1.0, 1.0)
UNIQUE = count()
LIMIT = per_minute("minute", 10_000)
REQUEST = CheckRequest("u", Account("a"), Media("image"))


def decided(result: TakeResult, at: float) -> bool:
    """Whether the upload goes ahead, as `decide` says after the store."""
    classes = {"regular": Thresholds(deny=at)}
    policy = Policy("p", ("regular",), "regular", None, 0, None, classes, (), frozenset(), (), DAY_US, DAY_US, 50_000)
    return decide(REQUEST, "regular", LivePauses(), policy, NOW_US, result).verdict.lets_in


async def takes_by_both(url: str, cases: list[tuple[Score, float]]) -> None:
    store = RedisAccountStore(url, prefix="decay:", deadline_s=5.0)
    await store.open()
    try:
        for number, (score, away) in enumerate(cases):
            memory = MemoryAccountStore(WallClock())
            await memory.put_scores([with_bytes(score)])
            await store.put_scores([with_bytes(_again(score, number))])
            now_risk = risk_at(score.risk, score.at_us, score.half_life_us, score.base, NOW_US)
            at = min(1.0, max(0.0, now_risk + away))  # mostly where the risk is just now
            results = [await _take(each, account, at) for each, account in ((memory, "a"), (store, f"a-{number}"))]

            ours, theirs = (result.standing for result in results)
            assert theirs.risk == pytest.approx(ours.risk, abs=1e-9), score
            assert (theirs.at_us, theirs.acts, theirs.half_life_us) == (ours.at_us, ours.acts, ours.half_life_us)
            for result in results:
                assert result.charged == decided(result, at), (score, at, result)
            if abs(away) > 1e-9:
                assert results[0].charged == results[1].charged, (score, at)
    finally:
        await store.close()


def _again(score: Score, number: int) -> Score:
    return Score(
        f"a-{number}", 0, 0, score.risk, (), score.at_us, NOW_US, Stamp(f"{next(UNIQUE)}", 1), "s", {},
        score.half_life_us, score.base, score.acts,
    )  # fmt: skip


async def _take(store: TakeStore, account: str, at: float) -> TakeResult:
    return await store.take(take_request(f"u-{next(UNIQUE)}", LIMIT, account=account, at=at))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(decaying, near), min_size=5, max_size=20))
def test_the_script_charges_if_and_only_if_the_decayed_score_lets_the_upload_in(
    redis_url: str, cases: list[tuple[Score, float]]
) -> None:
    asyncio.run(takes_by_both(redis_url, cases))
