"""Links judged in the order of time, the weight that is learnt from that, and the file of the name model."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gate.errors import PolicyInvalid
from streams.core.models.name_model import MOST_EVIDENCE
from streams.files.model_directory import load_models
from streams.files.models import Provenance
from streams.files.name_models import name_model, read_name_model, write_name_model
from streams.files.public_suffixes import load_web_links
from streams.lab.fit_names import LARGEST_WEIGHT, USUAL_WEIGHT, counted, learnt_weight
from streams.lab.honest_links import honest_hosts
from streams.lab.link_rows import LinkRow, labelled_link
from streams.lab.name_stream import name_odds, placed

WEB = load_web_links()
DAY_S = 86_400.0
BEGAN_S = 1_700_000_000.0
BRANDS = ("quivotrade", "zelkabank", "morvipay", "xantowallet", "fjordcoin", "plivexmail", "drovagames", "nubrixshop")


def row(host: str, label: int, at_s: float | None) -> LinkRow:
    found = labelled_link(host, label, at_s, WEB)
    assert found is not None
    return found


def scams(days: float, of_each: int = 24) -> list[LinkRow]:
    """Each brand is imitated for `days`, one brand after another."""
    rng = random.Random(2)
    return [
        row(
            f"{rng.choice(('my', 'go', 'pay', 'id'))}{n}-{brand}.top",
            1,
            BEGAN_S + DAY_S * days * (number + n / of_each),
        )
        for number, brand in enumerate(BRANDS)
        for n in range(of_each)
    ]


def honest(count: int, for_fitting: bool = False) -> list[LinkRow]:
    hosts = random.Random(4).sample(honest_hosts(for_fitting), count)
    return [row(one, 0, None) for one in hosts]


def test_rows_without_a_time_are_spread_over_the_span_of_the_others_whatever_their_order() -> None:
    rows = [row("a.example", 1, BEGAN_S), *honest(400), row("b.example", 1, BEGAN_S + 100 * DAY_S)]

    times = placed(rows)
    again = placed(rows[::-1])

    assert times is not None
    assert again is not None
    assert times == again[::-1]
    assert (times[0], times[-1]) == (BEGAN_S, BEGAN_S + 100 * DAY_S)
    by_quarter = np.histogram(times[1:-1], 4, (BEGAN_S, BEGAN_S + 100 * DAY_S))[0]
    assert min(by_quarter) > 70


def test_rows_of_one_moment_or_of_none_have_no_order() -> None:
    assert placed(honest(10)) is None
    assert placed([row("a.example", 1, BEGAN_S), row("b.example", 1, BEGAN_S)]) is None


def test_a_row_is_judged_by_the_names_before_it_alone() -> None:
    model = counted(honest(20_000, for_fitting=True), WEB, 1.0)
    rows = scams(days=5.0)
    times = placed(rows)
    assert times is not None

    odds = name_odds(rows, times, model, WEB)
    until = name_odds(rows[:40], times[:40], model, WEB)

    assert odds[:40].tolist() == until.tolist()
    assert odds[:2].tolist() == [0.0, 0.0]
    assert odds[2] > 0.0
    assert odds[23] == MOST_EVIDENCE
    assert odds.max() <= MOST_EVIDENCE


def test_names_alike_that_come_years_apart_are_no_campaign() -> None:
    model = counted(honest(20_000, for_fitting=True), WEB, 1.0)
    rows = scams(days=5.0)
    rare = [replace(one, at_s=BEGAN_S + n * 30 * DAY_S) for n, one in enumerate(rows)]
    times = placed(rare)
    assert times is not None

    assert not name_odds(rare, times, model, WEB).any()


@pytest.mark.parametrize(("days", "low", "high"), [(5.0, 0.1, LARGEST_WEIGHT), (2_000.0, 0.0, 0.0)])
def test_the_weight_of_names_is_what_later_links_bear_out(days: float, low: float, high: float) -> None:
    later = scams(days) + honest(1_500)
    doubtful = np.array([one.label for one in later]) + np.random.default_rng(1).normal(size=len(later))

    weight = learnt_weight(honest(20_000, for_fitting=True), later, doubtful, WEB)

    assert low <= weight <= high


def test_without_times_the_weight_is_the_usual_one() -> None:
    later = [replace(one, at_s=None) for one in scams(5.0)] + honest(100)

    assert learnt_weight([], later, np.zeros(len(later)), WEB) == USUAL_WEIGHT


def test_a_name_model_reads_back_and_a_worker_reads_it_with_the_others(tmp_path: Path) -> None:
    model = counted(honest(500, for_fitting=True), WEB, 0.4)

    write_name_model(model, Provenance({"list": 500}, 1, {"weight": 0.4}), tmp_path)

    assert read_name_model(tmp_path) == model
    assert load_models(tmp_path).names == model
    assert load_models(tmp_path).hash != load_models(None).hash


def test_a_name_model_with_other_words_than_its_hash_is_refused(tmp_path: Path) -> None:
    model = counted(honest(500, for_fitting=True), WEB, 0.4)
    write_name_model(model, Provenance({}, 1, {}), tmp_path)
    described = (tmp_path / "names.json").read_text()
    write_name_model(name_model(bytes(len(model.common)), 500, 0.4), Provenance({}, 1, {}), tmp_path)
    (tmp_path / "names.json").write_text(described)

    with pytest.raises(PolicyInvalid, match="names other weights"):
        read_name_model(tmp_path)
