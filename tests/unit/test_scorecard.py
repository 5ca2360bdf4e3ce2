"""The shipped scorecard judges farms and people as it should, and its scores say whose they are and from what."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gate.core.score import Score, Stamp
from gate.policyfile import load_policy
from streams.core.crowd import Crowd
from streams.core.features import FEATURES
from streams.core.scorecard import AbuseKind, Scorecard, Term, made_of, without
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process
from tests.scorecards import vector

BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)
WEB = load_web_links()
STAMP = Stamp("epoch", 9)
DENY = min(limit.deny for limit in load_policy(None).thresholds.values() if limit.deny is not None)


def shipped() -> Scorecard:
    return load_scorecard(None)


def card(*terms: Term, **given: Any) -> Scorecard:
    return made_of(terms, **{"base_rate": 0.02, "training_share": 0.5, **given})


def steps(feature: str, family: str, *points: int, kind: AbuseKind = AbuseKind.BOTH) -> Term:
    """Points for 0, from 1 on, from 2 on, …; those of an unknown value are -1."""
    return Term((feature,), family, (tuple(float(n) for n in range(1, len(points))),), (*points, -1), kind)


def scored(card: Scorecard, **values: float) -> Score:
    return card.score("a-17", vector(**values), 5, 7, STAMP)


def test_a_score_says_whose_it_is_when_and_from_what() -> None:
    score = scored(shipped())

    assert (score.account, score.at_us, score.scored_at_us, score.stamp) == ("a-17", 5, 7, STAMP)
    assert score.scorecard == shipped().hash
    assert score.reasons == ()
    assert score.risk == pytest.approx(0.02)


def test_every_feature_of_the_shipped_scorecard_names_its_direction_and_none_condemns_alone() -> None:
    for family in shipped().caps:
        alone = without(shipped(), set(shipped().caps) - {family})
        worst = sum(
            max(max(term.points) for term in alone.terms if term.name == name) for name in {t.name for t in alone.terms}
        )

        assert alone.base < 0.5
        assert alone.scale.log_odds(min(worst, alone.caps[family])) <= 1e-9


def test_the_log_odds_follow_from_points_slope_offset_and_the_shift_from_training_share_to_base_rate() -> None:
    one = card(steps("texts", "text", 0, 10_000), slope=2.0, offset=-1.0, training_share=0.5, base_rate=0.02)

    assert scored(one, texts=1).risk == pytest.approx(1 / (1 + 2.718281828 ** -(2.0 - 1.0 - 3.8918203)))
    assert one.base == pytest.approx(1 / (1 + 2.718281828 ** (1.0 + 3.8918203)))


def test_points_below_0_speak_for_the_account() -> None:
    one = card(steps("passed", "challenge", 0, -15_000))

    assert scored(one, passed=1).risk == pytest.approx(1 / (1 + 2.718281828 ** (3.8918203 + 1.5)))
    assert [(r.signal, r.value, r.weight) for r in scored(one, passed=1).reasons] == [("challenge.passed", 1, -1.5)]


def test_a_family_adds_its_cap_and_no_more_and_takes_away_no_more() -> None:
    terms = (steps("texts", "text", 0, 30_000, -90_000), steps("spam", "text", 0, 30_000))
    capped = card(*terms, caps={"text": 2.0})

    both, most = scored(capped, texts=1, spam=1).risk, scored(capped, texts=1).risk
    least = scored(capped, texts=2).risk

    assert both == most == pytest.approx(1 / (1 + 2.718281828 ** (3.8918203 - 2.0)))
    assert least == pytest.approx(1 / (1 + 2.718281828 ** (3.8918203 + 2.0)))


def test_a_family_without_a_cap_of_its_own_lifts_nobody_above_what_one_alone_may() -> None:
    assert scored(card(steps("texts", "text", 0, 90_000)), texts=1).risk == pytest.approx(0.5, abs=1e-4)
    assert scored(card(steps("texts", "text", 0, 90_000), alone_at_most=0.3), texts=1).risk <= 0.3


def test_a_cap_leaves_room_for_an_account_without_evidence_above_the_base_rate() -> None:
    lifted = card(steps("texts", "text", 0, 90_000), offset=1.0)

    assert lifted.base > 0.05
    assert scored(lifted, texts=1).risk == pytest.approx(0.5, abs=1e-4)


def test_a_scorecard_whose_start_is_above_what_one_alone_may_is_none() -> None:
    with pytest.raises(ValueError, match="not below"):
        card(steps("texts", "text", 0, 1), offset=4.0)


def test_the_risk_counts_evidence_for_both_once_and_is_split_by_the_rest() -> None:
    both = card(steps("texts", "text", 0, 20_000))
    split = card(
        steps("texts", "text", 0, 20_000, kind=AbuseKind.SCAM), steps("minute", "tempo", 0, 10_000, kind=AbuseKind.BOT)
    )

    shared, told = scored(both, texts=1), scored(split, texts=1, minute=1)

    assert shared.bot == shared.scam == shared.risk == pytest.approx(1 / (1 + 2.718281828 ** (3.8918203 - 2.0)))
    assert told.risk == told.scam == pytest.approx(1 / (1 + 2.718281828 ** (3.8918203 - 3.0)))
    assert told.bot == pytest.approx(told.risk * 2 / 3)


def test_a_pair_of_features_gives_the_points_of_the_cell_that_holds_both() -> None:
    points = (0, 0, 1, 0, 0, 10_000, 20_000, 5_000, 7, 7, 7, 7)
    pair = card(Term(("device_accounts", "freshness"), "network", ((2.0,), (0.1, 0.5)), points))

    def weight(**values: float) -> list[float]:
        return [reason.weight for reason in scored(pair, **values).reasons]

    assert weight(device_accounts=1, freshness=0.6) == [0.0001]
    assert weight(device_accounts=2, freshness=0.1) == [1.0]
    assert weight(device_accounts=9, freshness=0.5) == [2.0]
    assert weight(device_accounts=9) == [0.5]


def test_reasons_are_terms_with_the_values_read_the_heaviest_first_and_five_at_most() -> None:
    names = ["minute", "hour", "day", "gaps", "burst", "rhythm"]
    one = card(*[steps(name, "tempo", 0, 100 * (n + 1)) for n, name in enumerate(names)])

    score = scored(one, **dict.fromkeys(names, 3.5))

    assert [(r.signal, r.value, r.second) for r in score.reasons] == [
        (f"tempo.{name}", 3.5, None) for name in reversed(names[1:])
    ]
    assert [round(r.weight, 9) for r in score.reasons] == [0.06, 0.05, 0.04, 0.03, 0.02]


def test_a_value_that_is_not_known_is_told_as_such() -> None:
    one = card(Term(("age_days",), "age", ((1.0,),), (0, 0, 4_000)))

    assert [(r.signal, r.value, r.weight) for r in scored(one).reasons] == [("age.age_days", None, 0.4)]


def test_where_there_is_room_the_heaviest_reason_for_the_account_comes_last() -> None:
    one = card(
        steps("passed", "challenge", 0, -9_000), steps("failed", "challenge", 0, -50), steps("texts", "text", 0, 10)
    )

    signals = [reason.signal for reason in scored(one, passed=1, failed=1, texts=1).reasons]

    assert signals == ["text.texts", "challenge.passed"]


def test_a_score_carries_the_half_life_of_the_card_and_the_risk_without_evidence() -> None:
    score = scored(card(steps("texts", "text", 0, 10), half_life_us=36 * 3_600_000_000), texts=1)

    assert score.half_life_us == 36 * 3_600_000_000
    assert score.base == pytest.approx(0.02)
    assert scored(card(steps("texts", "text", 0, 10))).half_life_us == 0


def test_a_card_without_some_families_and_features_has_none_of_their_terms() -> None:
    lesser = without(shipped(), ["tempo", "spam", "freshness"])

    left = {feature for term in lesser.terms for feature in term.features}
    assert not left & {"burst", "rhythm", "spam", "freshness"}
    assert {"first_action_minutes", "suspicion"} <= left <= {feature.name for feature in FEATURES}
    assert "tempo" not in lesser.caps


class Platform:
    """One partition, folded event by event, that remembers each account's last score."""

    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}
        self.crowd = Crowd()
        self.risks: dict[str, list[float]] = {}

    def upload(self, account: str, second: float, age: timedelta | None = None, **given: Any) -> float:
        who: dict[str, Any] = {"id": account}
        if age is not None:
            who["created_at"] = (BEGAN - age).isoformat()
        at = (BEGAN + timedelta(seconds=second)).isoformat()
        value = json.dumps({"type": "attempted", "id": f"{second}", "at": at, "account": who, **given}).encode()
        record = Record(len(self.risks), account.encode(), value, (), 0)
        done = process([record], self.states, self.crowd, shipped(), Hashes(b"salt"), WEB, ("events", 0), "epoch", 0)
        self.states.update(done.states)
        self.risks.setdefault(account, []).append(done.scores[0].score.risk)
        return done.scores[0].score.risk


def farm(*, upto: int = 10, **given: Any) -> Platform:
    platform = Platform()
    jitter = random.Random(7)
    for turn in range(upto):
        for bot in range(31):
            second = 30 + turn * 10 + bot * 0.3 + jitter.uniform(-0.5, 0.5)
            platform.upload(f"bot-{bot}", second, timedelta(minutes=1), **given)
    return platform


CONTENT = {"media": {"kind": "image", "sha256": "same"}, "links": ["https://claim-bonus77.top/x"]}


@pytest.mark.parametrize(
    "shared", [{"ip": "203.0.113.9"}, {"device": "d-1"}, {"ip": "203.0.113.9", "device": "d-1"}], ids=" and ".join
)
def test_every_account_of_a_farm_is_denied_on_score_alone_within_ten_events(shared: dict[str, str]) -> None:
    risks = farm(**shared, **CONTENT).risks

    assert min(max(each) for each in risks.values()) >= DENY


def ordinary(age: timedelta | None, seed: int) -> list[float]:
    platform, rng, second = Platform(), random.Random(seed), 0.0
    words = "sunset harbour train garden bread old town rain snow class cat asleep over the lake with friends".split()  # noqa: SIM905
    for number in range(30):
        second += rng.lognormvariate(8.0, 1.8)
        given: dict[str, Any] = {"links": [f"https://site{number}.example/"]} if rng.random() < 0.05 else {}
        if rng.random() < 0.7:
            given["text"] = " ".join(rng.sample(words, rng.randint(1, 9)))
        media = {"kind": "image", "sha256": f"photo-{seed}-{number}"}
        platform.upload("person", second, age, ip="198.51.100.4", device="d-own", media=media, **given)
    return platform.risks["person"]


@pytest.mark.parametrize("age", [None, timedelta(days=500)], ids=["age unknown", "old"])
@pytest.mark.parametrize("seed", range(10))
def test_an_ordinary_account_is_never_under_suspicion(age: timedelta | None, seed: int) -> None:
    assert max(ordinary(age, seed)) < 0.3


@pytest.mark.parametrize("hours", [0.5, 5.0, 48.0])
def test_an_honest_new_account_on_a_campus_of_forty_is_not_challenged(hours: float) -> None:
    platform = Platform()
    for student in range(40):
        platform.upload(f"student-{student}", student, timedelta(days=200), ip="192.0.2.1", device=f"d-{student}")

    for number, second in enumerate((100, 400, 3_000, 3_300, 20_000, 21_000)):
        platform.upload(
            "fresher", second, timedelta(hours=hours), ip="192.0.2.1", device="d-own",
            media={"kind": "image", "sha256": f"photo-{number}"}, text=("hi", "my room!", "lunch with the others")[number % 3],
        )  # fmt: skip

    assert max(platform.risks["fresher"]) < 0.5
