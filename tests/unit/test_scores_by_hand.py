"""Scores of small scorecards, computed by hand: reasons, kinds, unknown values, caps, and what names a scorecard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import exp, log
from typing import Any

import numpy as np
import pytest

from gate.core.score import Reason, Score, Stamp
from streams.core.features import UNKNOWN
from streams.core.scorecard import (
    AbuseKind,
    Monotone,
    Scorecard,
    Speaks,
    Term,
    faults,
    log_odds_of,
    made_of,
    matrix_of,
    probability,
)
from streams.core.scorecard.scale import Scale
from tests.scorecards import vector

STAMP = Stamp("epoch", 9)
BOT, SCAM, BOTH = AbuseKind
BURST = Term(("burst",), "tempo", ((0.25, 0.5),), (0, 1_000, 30_000, 0), BOT)
SPAM = Term(("spam",), "text", ((0.5,),), (0, 20_000, 0), SCAM)
PASSED = Term(("passed",), "challenge", ((1.0,),), (0, -9_000, 0))
AGE = Term(("age_days",), "age", ((1.0, 30.0),), (5_000, 0, -3_000, 2_000))
PAIR = Term(
    ("device_accounts", "freshness"), "network", ((2.0,), (0.5, 0.9)),
    (0, 0, 0, 0, 1_000, 2_000, 3_000, 4_000, 0, 0, 0, 0),
)  # fmt: skip
KNOWN = {"age_days": 5.0, "freshness": 0.0}


def card(*terms: Term, **given: Any) -> Scorecard:
    return made_of(terms, **{"base_rate": 0.02, "training_share": 0.5, **given})


def scored(of: Scorecard, **values: float) -> Score:
    """The score of an account with these values; it is the same alone and among many."""
    row, other = vector(**KNOWN | values), vector(burst=1.0, spam=1.0)
    alone = of.score("a", row, 5, 7, STAMP)
    among = list(of.scores(["a"] * 13, [other] * 12 + [row], [5] * 13, 7, [STAMP] * 13))[-1]

    assert among == alone
    return alone


def told(score: Score) -> list[tuple[str, float | None, float, float | None]]:
    return [(reason.signal, reason.value, round(reason.weight, 9), reason.second) for reason in score.reasons]


def test_reasons_are_told_by_weight_with_the_values_that_were_read() -> None:
    score = scored(card(BURST, SPAM, AGE, PAIR), burst=0.25, spam=0.7, device_accounts=3.0, freshness=0.6, age_days=0.5)

    assert told(score) == [
        ("text.spam", 0.7, 2.0, None),
        ("age.age_days", 0.5, 0.5, None),
        ("network.device_accounts.freshness", 3.0, 0.2, 0.6),
        ("tempo.burst", 0.25, 0.1, None),
    ]
    assert all(type(reason) is Reason for reason in score.reasons)


def test_an_unknown_value_is_told_as_none_in_either_place() -> None:
    unknown_first = Term(("freshness", "device_accounts"), "age", ((0.5,), (2.0,)), (0, 0, 0, 0, 0, 0, 700, 800, 0))

    assert told(scored(card(AGE), age_days=UNKNOWN)) == [("age.age_days", None, 0.2, None)]
    assert told(scored(card(PAIR), device_accounts=2.0, freshness=UNKNOWN)) == [
        ("network.device_accounts.freshness", 2.0, 0.4, None)
    ]
    assert told(scored(card(unknown_first), device_accounts=2.0, freshness=UNKNOWN)) == [
        ("age.freshness.device_accounts", None, 0.08, 2.0)
    ]


def test_what_speaks_most_for_the_account_is_told_last_where_there_is_room() -> None:
    two_for = card(BURST, PASSED, AGE)
    names = ("minute", "hour", "day", "gaps", "burst")
    full = card(*[Term((name,), "tempo", ((1.0,),), (0, 100 + n, 0)) for n, name in enumerate(names)], PASSED)

    assert [name for name, *_ in told(scored(two_for, burst=0.5, passed=1.0, age_days=40.0))] == [
        "tempo.burst",
        "challenge.passed",
    ]
    assert told(scored(two_for, age_days=40.0)) == [("age.age_days", 40.0, -0.3, None)]
    assert [name for name, *_ in told(scored(full, passed=1.0, **dict.fromkeys(names, 1.0)))] == [
        f"tempo.{name}" for name in reversed(names)
    ]
    assert [name for name, *_ in told(scored(full, passed=1.0, **dict.fromkeys(names[1:], 1.0)))][
        -1
    ] == "challenge.passed"


def test_of_equal_weights_the_first_by_family_and_name_is_told_first() -> None:
    against = [Term((name,), "tempo", ((1.0,),), (0, 100, 0)) for name in ("minute", "hour", "day")]
    speaking_for = [Term((name,), "challenge", ((1.0,),), (0, -100, 0)) for name in ("passed", "failed")]

    score = scored(card(*against, *speaking_for), minute=1.0, hour=1.0, day=1.0, passed=1.0, failed=1.0)

    assert [name for name, *_ in told(score)] == ["tempo.day", "tempo.hour", "tempo.minute", "challenge.failed"]


def test_weights_are_told_as_the_slope_makes_them() -> None:
    assert told(scored(card(SPAM, slope=0.5), spam=0.5)) == [("text.spam", 0.5, 1.0, None)]


@pytest.mark.parametrize(
    ("values", "bot", "scam"),
    [
        ({"burst": 0.5}, 1.0, 1.0 / 4.0),
        ({"spam": 0.5}, 1.0 / 3.0, 1.0),
        ({"burst": 0.5, "spam": 0.5}, 1.0, 3.0 / 4.0),
        ({"burst": 0.5, "age_days": 0.5}, 1.0, 1.5 / 4.5),
        ({"burst": 0.5, "spam": 0.5, "age_days": 0.5}, 1.0, 3.5 / 4.5),
        ({"burst": 0.5, "passed": 1.0, "age_days": 40.0}, 1.0, 1.0 / 4.0),
        ({"passed": 1.0}, 1.0, 1.0),
        ({}, 1.0, 1.0),
    ],
)
def test_the_risk_is_split_by_the_evidence_of_each_kind(values: dict[str, float], bot: float, scam: float) -> None:
    score = scored(card(BURST, SPAM, PASSED, AGE), **values)

    assert score.bot == pytest.approx(score.risk * bot)
    assert score.scam == pytest.approx(score.risk * scam)


@pytest.mark.parametrize(
    ("values", "log_odds"),
    [
        ({"burst": 0.24}, 0.0), ({"burst": 0.25}, 0.1), ({"burst": 0.49}, 0.1), ({"burst": 0.5}, 3.0),
        ({"age_days": 0.9}, 0.5), ({"age_days": 1.0}, 0.0), ({"age_days": 30.0}, -0.3), ({"age_days": UNKNOWN}, 0.2),
        ({"age_days": 0.0}, 0.5), ({"age_days": -4.0}, 0.5),
        ({"device_accounts": 1.9, "freshness": 1.0}, 0.0), ({"device_accounts": 2.0, "freshness": 0.0}, 0.1),
        ({"device_accounts": 2.0, "freshness": 0.5}, 0.2), ({"device_accounts": 9.0, "freshness": 0.9}, 0.3),
        ({"device_accounts": 9.0, "freshness": UNKNOWN}, 0.4), ({"device_accounts": 0.0, "freshness": UNKNOWN}, 0.0),
        ({"burst": 0.5, "spam": 0.5, "passed": 1.0}, 3.0 + 2.0 - 0.9),
    ],
)  # fmt: skip
def test_the_points_of_the_bins_add_up(values: dict[str, float], log_odds: float) -> None:
    of = card(BURST, SPAM, PASSED, AGE, PAIR)
    row = vector(**KNOWN | values)

    assert scored(of, **values).risk == pytest.approx(probability(log_odds_of(0.02) + log_odds))
    assert of.log_odds(matrix_of([row])).tolist() == pytest.approx([log_odds_of(0.02) + log_odds])
    assert of.contributions(matrix_of([row])).sum() == pytest.approx(log_odds)
    assert sum(
        term.points_at([dict(KNOWN | values).get(name, 0.0) for name in term.features]) for term in of.terms
    ) == round(log_odds * 10_000)


def test_a_term_whose_points_at_0_are_not_0_counts_where_the_value_is_0() -> None:
    late = Term(("late",), "history", ((1.0,),), (5_000, 0, 0))
    both = Term(("late", "texts"), "history", ((1.0,), (1.0,)), (0, 600, 0, 0, 0, 0, 0, 0, 0))

    assert told(scored(card(late))) == [("history.late", 0.0, 0.5, None)]
    assert told(scored(card(both), texts=1.0)) == [("history.late.texts", 0.0, 0.06, 1.0)]
    assert scored(card(late), late=1.0).reasons == ()


def test_a_value_of_0_is_in_the_bin_between_cuts_below_and_above_it() -> None:
    single = Term(("late",), "history", ((-1.0, 1.0),), (0, 500, 0, 0))
    pair = Term(("late", "texts"), "history", ((-1.0, 1.0), (1.0,)), (0, 0, 0, 0, 600, 0, 0, 0, 0, 0, 0, 0))

    assert told(scored(card(single))) == [("history.late", 0.0, 0.05, None)]
    assert told(scored(card(pair), texts=1.0)) == [("history.late.texts", 0.0, 0.06, 1.0)]


def test_terms_behind_one_whose_feature_is_0_count_too() -> None:
    def pair(first: str) -> Term:
        return Term((first, "texts"), "tempo", ((1.0,), (1.0,)), (0, 0, 0, 0, 700, 0, 0, 0, 0))

    singles = [Term((name,), "tempo", ((1.0,),), (0, 100, 0)) for name in ("day", "hour", "minute")]
    of = card(*singles, *map(pair, ("burst", "gaps", "rhythm")))

    assert [name for name, *_ in told(scored(of, hour=1.0, gaps=1.0, texts=1.0))] == ["tempo.gaps.texts", "tempo.hour"]


def test_a_scorecard_without_terms_gives_every_account_the_risk_of_no_evidence() -> None:
    nothing = card(base_rate=0.05)

    assert scored(nothing).risk == scored(nothing).bot == scored(nothing).scam == nothing.base == pytest.approx(0.05)
    assert scored(nothing).reasons == ()


def test_the_start_is_the_offset_shifted_from_the_training_share_to_the_base_rate() -> None:
    one = card(SPAM, base_rate=0.1, training_share=0.4, offset=-2.0)

    assert one.start == pytest.approx(-2.0 - log(0.4 / 0.6) + log(0.1 / 0.9))
    assert one.base == pytest.approx(1 / (1 + exp(-one.start)))


def test_a_family_adds_what_lifts_the_base_rate_to_a_half_where_nothing_else_is_said() -> None:
    one, low = card(SPAM, BURST), card(SPAM, BURST, caps={"text": 1.25})

    assert one.alone_at_most == 0.5
    assert one.caps == {"tempo": 38_918, "text": 38_918}
    assert low.caps == {"tempo": 38_918, "text": 12_500}
    assert low.lower_caps == {"text": 1.25}
    assert low.most_alone("text") == 1.25
    assert card(SPAM, slope=2.0).caps == {"text": 19_459}
    assert card(SPAM, caps={"text": 0.0}).caps == {"text": 0}
    assert scored(card(SPAM, caps={"text": 0.0}), spam=1.0).risk == pytest.approx(0.02)


def test_a_cap_is_the_largest_that_keeps_to_the_bound() -> None:
    for base_rate, slope, bound in ((0.02, 1.0, 0.5), (0.013, 0.7, 0.31), (0.2, 3.3, 0.9)):
        one = card(SPAM, base_rate=base_rate, slope=slope, alone_at_most=bound)
        cap = one.caps["text"]

        assert probability(one.scale.log_odds(cap)) <= bound < probability(one.scale.log_odds(cap + 1))


def test_a_start_at_the_bound_leaves_no_room_for_a_family() -> None:
    with pytest.raises(ValueError, match=r"has a risk of 0\.500, which is not below 0\.5"):
        card(SPAM, base_rate=0.5)


def test_scores_carry_what_the_scorecard_says_of_them() -> None:
    plain, other = card(SPAM), card(SPAM, half_life_us=60)
    score, late = scored(plain), other.score("a", vector(), 5, 7, STAMP, acts=False)

    assert (score.half_life_us, score.acts, score.base, score.scorecard, score.models) == (
        0,
        True,
        plain.base,
        plain.hash,
        "",
    )
    assert (late.half_life_us, late.acts) == (60, False)
    assert len(plain.hash) == 12


def test_every_part_of_a_scorecard_is_in_its_hash_and_the_order_of_terms_is_not() -> None:
    changed = [
        card(SPAM, BURST), card(SPAM), card(SPAM, BURST, base_rate=0.03), card(SPAM, BURST, training_share=0.4),
        card(SPAM, BURST, slope=1.5), card(SPAM, BURST, offset=-1.0), card(SPAM, BURST, alone_at_most=0.6),
        card(SPAM, BURST, caps={"text": 1.0}), card(SPAM, BURST, half_life_us=9),
        *[card(replace(SPAM, **{name: to}), BURST) for name, to in (
            ("points", (0, 1, 0)), ("cuts", ((0.4,),)), ("kind", BOT), ("speaks", Speaks.AGAINST), ("monotone", (Monotone.UP,)),
        )],
    ]  # fmt: skip

    assert len({one.hash for one in changed}) == len(changed)
    assert card(BURST, SPAM) == card(SPAM, BURST)


@pytest.mark.parametrize("count", [1, 10, 11, 30])
def test_a_shadow_is_scored_beside_however_many_accounts_there_are(count: int) -> None:
    other = replace(card(BURST), models="fitted")
    both = replace(card(SPAM), shadow=other)

    def rows() -> Iterator[Sequence[float]]:
        return iter([vector(burst=0.5, spam=0.5 * (number % 2)) for number in range(count)])

    scores = list(both.scores(["a"] * count, rows(), [5] * count, 7, [STAMP] * count))
    alone = list(other.scores(["a"] * count, rows(), [5] * count, 7, [STAMP] * count))

    assert [score.risk for score in scores] == [
        score.risk for score in card(SPAM).scores(["a"] * count, rows(), [5] * count, 7, [STAMP] * count)
    ]
    for score, one in zip(scores, alone, strict=True):
        assert score.shadow is not None
        assert (score.shadow.bot, score.shadow.scam, score.shadow.risk) == (one.bot, one.scam, one.risk)
        assert (score.shadow.scorecard, score.shadow.models) == (other.hash, "fitted")


@pytest.mark.parametrize(("log_odds", "equal"), [(39.9, None), (40.0, 40.0), (700.0, 40.0), (1e9, 40.0)])
def test_a_probability_is_not_told_from_certainty_beyond_log_odds_of_40(log_odds: float, equal: float | None) -> None:
    expected = equal or log_odds

    assert probability(-log_odds) == 1.0 / (1.0 + exp(expected))
    assert probability(log_odds) == 1.0 / (1.0 + exp(-expected))
    assert probability(0.0) == 0.5
    assert 0.0 < probability(-40.0) < probability(-39.9) < 1e-17


def test_a_sure_account_has_the_same_risk_alone_and_among_many() -> None:
    sure = card(Term(("spam",), "text", ((0.5,),), (0, 600_000, 0)), base_rate=1e-16, alone_at_most=1 - 1e-12)
    innocent = card(
        Term(("passed",), "challenge", ((0.5,),), (0, -600_000, 0)), caps={"challenge": 60.0}, alone_at_most=0.9
    )

    assert scored(sure, spam=1.0).risk > 0.99
    assert 0.0 < scored(innocent, passed=1.0).risk < 1e-2


def test_log_odds_of_points_and_of_a_share() -> None:
    assert Scale(-3.0, 0.5).log_odds(4) == -1.0
    assert log_odds_of(0.5) == 0.0
    assert log_odds_of(0.8) == pytest.approx(log(4.0))


def test_a_term_names_its_rows_and_says_nothing_of_what_it_does_not_state() -> None:
    assert PAIR.rows == ((0, 0, 0, 0), (1_000, 2_000, 3_000, 4_000), (0, 0, 0, 0))
    assert BURST.rows == ((0, 1_000, 30_000, 0),)
    assert (PAIR.name, BURST.name) == ("network.device_accounts.freshness", "tempo.burst")
    assert PAIR.monotone == (Monotone.EITHER, Monotone.EITHER)
    assert str(Term(("burst",), "tempo", ((-0.0,),), (0, 0, 0)).cuts[0][0]) == "0.0"


@pytest.mark.parametrize(
    ("points", "stated", "said"),
    [
        ((0, 100, -1), {"speaks": Speaks.AGAINST}, ["speaks against the account and has points below 0 (-0.0001)"]),
        ((0, 0, 5_000), {"speaks": Speaks.FOR}, ["speaks for the account and has points above 0 (0.5)"]),
        ((0, -100, 0), {"speaks": Speaks.FOR}, []),
        ((0, 100, 0), {"speaks": Speaks.AGAINST}, []),
        ((0, 20_000, 100), {"monotone": (Monotone.DOWN,)}, ["goes down with burst and rises from 0 to 2 at 0.25"]),
        ((20_000, 0, 100), {"monotone": (Monotone.UP,)}, ["goes up with burst and falls from 2 to 0 at 0.25"]),
        ((100, 100, 0), {"monotone": (Monotone.UP,)}, []),
        ((100, 100, 200), {"monotone": (Monotone.DOWN,)}, []),
    ],
)
def test_points_that_contradict_what_a_term_states_are_told(
    points: tuple[int, ...], stated: Any, said: list[str]
) -> None:
    assert faults(Term(("burst",), "tempo", ((0.25,),), points, **stated)) == said


def test_a_pair_is_monotone_by_each_of_its_features_apart() -> None:
    names, cuts, either = ("device_accounts", "freshness"), ((2.0,), (0.5, 0.9)), Monotone.EITHER
    rises_with_second = (0, 1, 2, 9, 0, 1, 2, 9, 7, 0, 7, 0)
    rises_with_first = (2, 1, 0, 9, 3, 2, 1, 9, 7, 0, 7, 0)

    def said(points: tuple[int, ...], *monotone: Monotone) -> list[str]:
        return faults(Term(names, "network", cuts, points, monotone=monotone))

    assert said(rises_with_second, either, Monotone.UP) == said(rises_with_first, Monotone.UP, Monotone.DOWN) == []
    assert said(rises_with_first, either, Monotone.UP) == [
        "goes up with freshness and falls from 0.0002 to 0.0001 at 0.5"
    ]
    assert said(rises_with_first, Monotone.DOWN, either) == [
        "goes down with device_accounts and rises from 0.0002 to 0.0003 at 2"
    ]


def test_a_matrix_has_a_row_for_each_vector() -> None:
    matrix = matrix_of([vector(burst=1.0), vector(spam=2.0)])

    assert matrix.shape == (2, len(vector()))
    np.testing.assert_array_equal(matrix[1], vector(spam=2.0))
