"""Scorecards and vectors for tests: hypothesis strategies, and vectors by the names of features."""

from __future__ import annotations

from itertools import product

from hypothesis import strategies as st

from streams.core.features import FEATURES, PLACE, UNKNOWN
from streams.core.scorecard import AbuseKind, Scorecard, Term, log_odds_of, made_of


def vector(**values: float) -> list[float]:
    """The vector in which every other feature is 0, or unknown where it may be."""
    row = [UNKNOWN if feature.may_be_unknown else 0.0 for feature in FEATURES]
    for name, value in values.items():
        row[PLACE[name]] = value
    return row


numbers = st.one_of(st.integers(-5, 60).map(float), st.floats(0.0, 1.0), st.floats(-1e6, 1e6), st.just(UNKNOWN))
vectors = st.lists(numbers, min_size=len(FEATURES), max_size=len(FEATURES))
_cuts = st.lists(st.one_of(st.integers(-4, 40), st.floats(-50.0, 50.0)), min_size=1, max_size=5, unique=True).map(
    lambda cuts: tuple(float(cut) for cut in sorted(cuts))
)


@st.composite
def terms(draw: st.DrawFn, features: tuple[str, ...], most: int = 60_000) -> Term:
    """A term of these features with any points; of two families either may bound it."""
    cuts = tuple(draw(_cuts) for _ in features)
    bins = list(product(*(range(len(each) + 2) for each in cuts)))
    some = draw(st.lists(st.integers(-most, most), min_size=1, max_size=8))
    points = [
        0 if any(bin_ > len(each) and not FEATURES[PLACE[feature]].may_be_unknown
                 for bin_, each, feature in zip(place, cuts, features, strict=True)) else some[number % len(some)]
        for number, place in enumerate(bins)
    ]  # fmt: skip
    family = draw(st.sampled_from([FEATURES[PLACE[feature]].family for feature in features]))
    return Term(features, family, cuts, tuple(points), draw(st.sampled_from(AbuseKind)))


@st.composite
def scorecards(draw: st.DrawFn) -> Scorecard:
    """Any scorecard with a handful of terms, single ones and pairs."""
    names = [feature.name for feature in FEATURES]
    chosen = draw(
        st.lists(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True), min_size=0, max_size=8,
                 unique_by=frozenset)
    )  # fmt: skip
    made = [draw(terms(tuple(features))) for features in chosen]
    caps = (
        draw(st.dictionaries(st.sampled_from(sorted({term.family for term in made})), st.floats(0.0, 6.0)))
        if made
        else {}
    )
    base_rate, alone_at_most = draw(st.floats(0.001, 0.2)), draw(st.floats(0.3, 0.9))
    share = draw(st.floats(0.05, 0.95))
    return made_of(
        made, base_rate=base_rate, training_share=share, slope=draw(st.floats(0.2, 5.0)),
        offset=draw(st.floats(-3.0, 0.4)) + log_odds_of(share),
        alone_at_most=alone_at_most, caps=caps, half_life_us=draw(st.sampled_from([0, 3_600_000_000])),
    )  # fmt: skip
