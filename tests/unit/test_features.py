"""The vector of features is whole and ordered; states of the second layout give the scores that they gave there."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest

from gate.core.score import Stamp
from streams.core.crowd import Surroundings
from streams.core.facts import Facts, unpack
from streams.core.features import FEATURES, Features, features
from streams.core.signals import signals
from streams.files.scorecards import load_scorecard

SHIPPED = load_scorecard(None)
GOLDEN: list[dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "states.v2.json").read_text())


def test_every_feature_is_named_once_in_the_order_of_the_vector() -> None:
    assert tuple(feature.name for feature in FEATURES) == Features._fields
    assert all(feature.meaning for feature in FEATURES)


def test_an_account_nobody_knows_has_a_vector_of_zeros() -> None:
    assert features(Facts(), Surroundings()) == (0.0,) * len(FEATURES)


@pytest.mark.parametrize("golden", GOLDEN, ids=range(len(GOLDEN)))
def test_a_state_of_the_second_layout_is_scored_as_it_was(golden: dict[str, Any]) -> None:
    facts = unpack(base64.b64decode(golden["state"]))
    vector = features(facts, Surroundings(*golden["around"]))

    score = SHIPPED.score("a", signals(vector), facts.latest_us, 0, Stamp("e", facts.offset))

    assert all(math.isfinite(value) for value in vector)
    assert all(one.low <= value <= one.high for one, value in zip(FEATURES, vector, strict=True))
    assert score.at_us == golden["at_us"]
    assert (score.bot, score.scam, score.risk) == pytest.approx(
        (golden["bot"], golden["scam"], golden["risk"]), rel=0.01
    )
    assert [[r.signal, r.weight] for r in score.reasons] == [[name, weight] for name, _, weight in golden["reasons"]]
    assert [r.value for r in score.reasons] == pytest.approx([value for _, value, _ in golden["reasons"]], rel=0.01)
