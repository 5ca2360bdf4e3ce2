"""The vector of features is whole and ordered; states of the second layout give the features that they gave there."""

from __future__ import annotations

import base64
import json
import math
from math import log2
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.duration import HOUR_US
from streams.core.beats import count_beat
from streams.core.crowd import Surroundings
from streams.core.facts import CaptionFacts, Facts, unpack
from streams.core.features import (
    FAMILIES,
    FEATURES,
    PLACE,
    VectorReader,
    age,
    captions,
    challenge,
    features,
    fields,
    last_evidence_us,
    links,
    named,
    sameness,
    tempo,
    text,
    vector_of,
)
from streams.core.window import count_upload

GOLDEN: list[dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "states.v2.json").read_text())


def test_every_feature_is_named_once_in_the_order_of_the_vector_with_family_and_meaning() -> None:
    names = [feature.name for feature in FEATURES]

    assert len(set(names)) == len(names) == len(features(Facts(), Surroundings()))
    assert [PLACE[name] for name in names] == list(range(len(names)))
    assert all(feature.meaning and feature.family in FAMILIES for feature in FEATURES)
    assert not set(names) & set(FAMILIES)


def test_an_account_nobody_knows_has_a_vector_of_zeros_and_of_what_is_not_known() -> None:
    vector = features(Facts(), Surroundings())

    assert all(
        math.isnan(value) if feature.may_be_unknown else value == 0.0
        for feature, value in zip(FEATURES, vector, strict=True)
    )


CHEAP = tuple(name for family in (tempo, age, sameness, text, captions) for name in family.CHEAP)


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("minute",),
        ("mention_rate", "freshness", "ip_accounts"),
        CHEAP,
        (*CHEAP, "suspicion", "host_share", "report_rate", "passed", "failed", "malformed_share"),
        ("uniformity", "content_share", "caption_odds", "spam", "passed", "host_share"),
        tuple(PLACE),
    ],
)
def test_a_reader_of_some_features_reads_these_and_leaves_the_others_unknown(names: tuple[str, ...]) -> None:
    read = VectorReader(names)

    for golden in GOLDEN[:40]:
        facts, around = unpack(base64.b64decode(golden["state"])), Surroundings(*golden["around"])
        whole, some = vector_of(facts, around), read(facts, around)
        for feature, value, expected in zip(FEATURES, some, whole, strict=True):
            is_read = feature.name in names
            is_shared = feature.family in ("network", "crowd", "campaign")
            assert (value == expected and (is_read or is_shared)) or (
                math.isnan(value) and (math.isnan(expected) or not is_read)
            )


@given(
    st.builds(
        Facts,
        uploads=st.integers(0, 12),
        refused=st.integers(0, 3),
        malformed=st.integers(0, 2),
        created_us=st.sampled_from((0, 1_763_900_000_000_000, 1_764_000_000_000_000)),
        first_us=st.just(1_764_000_000_000_000),
        latest_us=st.just(1_764_000_100_000_000),
        content_repeats=st.integers(0, 2),
        texts=st.integers(0, 12),
        template_repeats=st.integers(0, 3),
        layout_squares=st.integers(12, 144),
        mentions=st.integers(0, 12),
        spam=st.sampled_from((0.0, 0.3)),
        linked=st.integers(0, 2),
        passed=st.sampled_from(([], [2916, 1024])),
        failed=st.sampled_from(([], [2916, 1500])),
        captions=st.none() | st.builds(CaptionFacts, st.integers(1, 9), st.integers(-99, 99), st.integers(0, 999)),
    )
)
def test_what_is_read_at_less_cost_is_the_same(facts: Facts) -> None:
    names = (*CHEAP, *(one.name for family in (links, challenge, fields) for one in family.FEATURES))

    some, whole = VectorReader(names)(facts, Surroundings()), vector_of(facts, Surroundings())

    for name in names:
        value, expected = some[PLACE[name]], whole[PLACE[name]]
        assert value == expected or (math.isnan(value) and math.isnan(expected))


@given(st.lists(st.integers(0, 40).map(lambda step: step * 7_500_000), max_size=24), st.integers(0, HOUR_US))
def test_a_reader_of_the_cheap_tempo_features_gives_the_same_values_of_them(gaps_us: list[int], later_us: int) -> None:
    facts, at_us = Facts(), 1_764_000_000_000_000
    for gap_us in gaps_us:
        at_us += gap_us
        facts.uploads += 1
        facts.first_us = facts.first_us or at_us
        count_upload(facts.minute, facts.hour, facts.day, at_us)
        count_beat(facts.beats, at_us // 1_000)
    facts.latest_us = at_us + later_us

    some, whole = VectorReader(tempo.CHEAP)(facts, Surroundings()), vector_of(facts, Surroundings())

    for name in tempo.CHEAP:
        value, expected = some[PLACE[name]], whole[PLACE[name]]
        assert value == expected or (math.isnan(value) and math.isnan(expected))


def signals_of(of: dict[str, float]) -> dict[str, float]:
    """The signals of the first scorecards as their weights read them, from the features that replaced them."""
    fresh = 0.0 if math.isnan(of["freshness"]) else of["freshness"]
    waited = of["first_action_minutes"] - 1.0
    worth = 0.3 + 0.7 * fresh
    return {
        "tempo.burst": of["burst"],
        "tempo.rhythm": of["rhythm"],
        "age.fresh": fresh,
        "age.first_action": 0.0 if math.isnan(waited) else 2.0 ** -(max(0.0, waited) / 5.0),
        "sameness.content": of["content_share"],
        "sameness.text": of["template_share"] + (1.0 - of["template_share"]) * 0.58 * of["uniformity"],
        "network.ip_accounts": worth * min(1.0, log2(max(1.0, of["ip_accounts"])) / 5.0),
        "network.device_accounts": worth * min(1.0, log2(max(1.0, of["device_accounts"])) / 3.0),
        "crowd.content_accounts": of["content_spread"],
        "crowd.link_accounts": of["link_spread"],
        "links.density": of["link_share"],
        "links.repeated": of["host_share"],
        "links.suspicious": of["suspicion"],
        "text.spam": of["spam"],
        "reports.rate": of["report_rate"],
    }


@pytest.mark.parametrize("golden", GOLDEN, ids=range(len(GOLDEN)))
def test_a_state_of_the_second_layout_has_the_features_that_it_had(golden: dict[str, Any]) -> None:
    facts = unpack(base64.b64decode(golden["state"]))
    vector = features(facts, Surroundings(*golden["around"]))

    found = signals_of(named(vector))

    assert all(
        one.low <= value <= one.high or (one.may_be_unknown and math.isnan(value))
        for one, value in zip(FEATURES, vector, strict=True)
    )
    assert facts.latest_us == golden["at_us"] >= last_evidence_us(facts)
    for name, value, _ in golden["reasons"]:
        assert found[name] == pytest.approx(value, rel=0.01, abs=1e-9), name
