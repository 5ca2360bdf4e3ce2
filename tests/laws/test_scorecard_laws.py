"""Laws of scores over any scorecard and any vector: caps, the split of the risk, batches, monotone terms, files."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gate.core.score import Score, Stamp
from streams.core.crowd import Surroundings
from streams.core.facts import unpack
from streams.core.features import FAMILIES, FEATURES, FactColumns, vector_of
from streams.core.scorecard import Scorecard, log_odds_of, matrix_of, probability, without
from streams.core.scorecard.many import Batched
from streams.files.scorecard_text import scorecard_text
from streams.files.scorecards import load_scorecard, parse_scorecard
from tests.columns import many_surroundings
from tests.scorecards import scorecards, vectors

STAMP = Stamp("epoch", 9)
STATES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "unit" / "golden" / "states.v2.json").read_text()
)
SHIPPED = load_scorecard(None)


def scored(card: Scorecard, vector: list[float]) -> Score:
    return card.score("a-17", vector, 5, 7, STAMP)


def alone(card: Scorecard, family: str) -> Scorecard:
    return without(card, [other for other in FAMILIES if other != family])


@given(scorecards(), vectors)
def test_no_family_alone_lifts_an_account_above_what_one_may(card: Scorecard, vector: list[float]) -> None:
    for family in card.caps:
        risk = scored(alone(card, family), vector).risk

        assert risk <= card.alone_at_most
        assert probability(log_odds_of(card.base_rate) + card.most_alone(family)) <= card.alone_at_most + 1e-12


@pytest.mark.parametrize("family", SHIPPED.caps)
@given(vector=vectors)
def test_no_family_of_the_shipped_scorecard_condemns_alone(family: str, vector: list[float]) -> None:
    assert scored(alone(SHIPPED, family), vector).risk <= 0.5


@given(scorecards(), vectors)
def test_the_risk_is_between_the_larger_part_and_the_sum_of_both(card: Scorecard, vector: list[float]) -> None:
    score = scored(card, vector)

    assert 0.0 <= min(score.bot, score.scam) <= max(score.bot, score.scam) == score.risk <= 1.0
    assert score.risk <= score.bot + score.scam
    assert all(isfinite(reason.weight) and reason.weight for reason in score.reasons)
    assert len(score.reasons) <= 5


@given(scorecards(), st.lists(vectors, min_size=1, max_size=30))
def test_a_score_does_not_depend_on_the_batch_around_it(card: Scorecard, given_: list[list[float]]) -> None:
    one_by_one = [scored(card, vector) for vector in given_]
    names, stamps, times = ["a-17"] * len(given_), [STAMP] * len(given_), [5] * len(given_)

    together = list(card.scores(names, given_, times, 7, stamps))
    matrix = Batched(card.terms, card.caps, card.scale).judge(given_)

    assert together == one_by_one
    assert matrix == [(score.bot, score.scam, score.risk, score.reasons) for score in one_by_one]


@given(scorecards(), scorecards(), st.lists(st.sampled_from(STATES), min_size=1, max_size=40))
def test_accounts_whose_facts_were_let_go_have_the_scores_of_their_whole_vectors(
    card: Scorecard, shadow: Scorecard, states: list[dict[str, Any]]
) -> None:
    card = replace(card, shadow=shadow)
    facts = [unpack(base64.b64decode(state["state"])) for state in states]
    around = [Surroundings(*state["around"]) for state in states]
    names, stamps, times = ["a-17"] * len(states), [STAMP] * len(states), [5] * len(states)
    given_ = list(map(card.read.of_facts, facts))
    columns = card.read.columns(FactColumns.of(given_), many_surroundings(around))

    expected = [scored(card, vector_of(one, surroundings)) for one, surroundings in zip(facts, around, strict=True)]

    assert list(card.scores(names, columns, times, 7, stamps)) == expected
    assert list(card.scores(names, map(card.read.whole, given_, around), times, 7, stamps)) == expected


@given(scorecards(), vectors)
def test_the_log_odds_and_contributions_of_a_matrix_are_those_of_the_scores(
    card: Scorecard, vector: list[float]
) -> None:
    matrix = matrix_of([vector])

    contributions = card.contributions(matrix)[0]

    assert probability(float(card.log_odds(matrix)[0])) == scored(card, vector).risk
    for term, contribution in zip(card.terms, contributions, strict=True):
        values = [vector[[feature.name for feature in FEATURES].index(name)] for name in term.features]
        assert contribution == term.points_at(values) * card.scale.point


@given(scorecards())
def test_a_scorecard_reads_back_from_its_file_with_the_same_hash(card: Scorecard) -> None:
    assume(card.terms)
    text = scorecard_text(card, ["whose it is"])

    again = parse_scorecard(text, "card.toml")

    assert again == card
    assert scorecard_text(again, ["whose it is"]) == text


@given(vectors, st.sampled_from(range(len(FEATURES))), st.floats(0.0, 40.0), st.floats(0.0, 40.0))
def test_the_shipped_scorecard_keeps_to_the_direction_that_its_terms_state(
    vector: list[float], place: int, one: float, other: float
) -> None:
    name = FEATURES[place].name
    stated = {
        direction
        for term in SHIPPED.terms
        for feature, direction in zip(term.features, term.monotone, strict=True)
        if feature == name
    }
    lower, higher = sorted((one, other))
    risks = [scored(SHIPPED, [*vector[:place], value, *vector[place + 1 :]]).risk for value in (lower, higher)]

    if stated == {"up"}:
        assert risks[0] <= risks[1]
    elif stated == {"down"}:
        assert risks[0] >= risks[1]
    else:
        assert not stated
        assert risks[0] == risks[1]


@given(scorecards(), vectors)
def test_what_is_capped_at_nothing_says_nothing(card: Scorecard, vector: list[float]) -> None:
    nothing = without(card, FAMILIES)

    assert scored(nothing, vector).risk == nothing.base == card.base
    assert scored(nothing, vector).reasons == ()
