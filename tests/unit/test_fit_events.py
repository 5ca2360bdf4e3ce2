"""Events are judged as they come: labels when they come, later events by a card of earlier ones, bytes that repeat."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gate.cli.main import run
from gate.errors import OperatorError, PolicyInvalid
from streams.core.counters import COUNT_NAMES, LABEL_NAMES
from streams.files.event_cards import read_event_model
from streams.lab import fit_events as fitting
from streams.lab.events import FAMILIES, family, judge_events, label_delay, read_events, without
from tests.small_fits import shrink_event_fits

pytestmark = pytest.mark.long

pytest.importorskip("interpret", reason="the extra `fit` is not installed")


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_event_fits(monkeypatch)


def stream(path: Path, count: int = 900, seed: int = 3, first: int = 0) -> Path:
    """People buy from shops; thieves appear, take equal sums from one target in a burst, and vanish."""
    rng = random.Random(seed)
    rows = []
    number = first
    while len(rows) < count:
        thief = rng.random() < 0.04
        source = f"thief{number}" if thief else f"person{rng.randrange(60)}"
        for _ in range(8 if thief else 1):
            number += 1
            rows.append({
                "account_id": source, "t": number, "seq": number, "device": "web" if thief else rng.choice(("app", "web")),
                "content_key": f"mule{number % 3}" if thief else f"shop{rng.randrange(20)}", "kind": "transfer",
                "amount": 500 if thief else round(rng.uniform(1, 90), 2),
                "label": -1 if rng.random() < 0.3 else int(thief),
            })  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))
    return path


def test_rows_become_events_and_a_number_for_a_time_counts_events(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"account_id":"a","t":0,"seq":0,"device":"d","content_key":"c","kind":"k","amount":2.5,"label":1}\n'
        '{"account_id":"b","t":1,"seq":1,"kind":7,"amount":"much","label":-1}\n'
    )

    given = read_events([file])

    assert given.events == [("a", "c", "d", "k", 2.5), ("b", "", "", "", 0.0)]
    assert not given.by_time
    assert given.times == [1.0, 2.0]
    assert given.rows == {"rows.jsonl": 2}


def test_rows_with_times_are_taken_by_the_clock(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"account_id":"b","t":900,"label":0}\n{"account_id":"a","t":100,"label":1}\n')

    given = read_events([file])

    assert given.by_time
    assert given.times == [100.0, 900.0]
    assert [event.source for event in given.events] == ["a", "b"]


def test_a_label_is_learned_after_its_event_and_its_delay(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"account_id":"a","t":{n},"seq":{n},"label":1}}\n' for n in range(30)))
    given = read_events([file])
    place = (*COUNT_NAMES, *LABEL_NAMES).index("source_odds")

    at_once, late = judge_events(given, "immediate"), judge_events(given, "10")

    assert at_once.matrix[0, place] == late.matrix[0, place]
    assert at_once.matrix[1, place] > late.matrix[1, place]
    assert np.array_equal(late.matrix[:10, place], np.full(10, late.matrix[0, place]))
    assert late.matrix[12, place] > late.matrix[9, place]
    assert judge_events(given, "none").names == COUNT_NAMES


@pytest.mark.parametrize(
    ("given", "by_time", "delay"),
    [("none", True, None), ("immediate", False, 0.0), ("2h", True, 7200.0), ("50", False, 50.0)],
)
def test_delays_are_durations_or_numbers_of_events(given: str, by_time: bool, delay: float | None) -> None:
    assert label_delay(given, by_time) == delay


@pytest.mark.parametrize(("given", "by_time"), [("soon", True), ("2h", False)])
def test_what_is_no_delay_is_refused(given: str, by_time: bool) -> None:
    with pytest.raises(OperatorError):
        label_delay(given, by_time)


def test_counters_and_families_can_be_left_out() -> None:
    left = without(("amount", "source_gap", "source_odds"), ["labels", "amount"])

    assert left == ("source_gap",)
    assert family("source_target_odds_fast") == family("target_honest_run") == "labels"
    with pytest.raises(OperatorError, match="weather"):
        without(("amount",), ["weather"])


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize("named", [False, True], ids=["no directory", "a directory without a card"])
def test_later_events_are_judged_by_a_card_of_the_earlier_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], named: bool
) -> None:
    file = stream(tmp_path / "rows.jsonl")
    models_option = ["--models", str(tmp_path)] if named else []

    code = run(["evaluate", str(file), "--what", "events", *models_option, "-o", "json"])

    figures = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {"events", "positives", "auc", "recall_at_1pct_fpr"} <= figures.keys()
    assert figures["auc"] > 0.85
    assert 0 < figures["positives"] < figures["events"] < 300


@pytest.mark.usefixtures("small_machine")
def test_a_fitted_card_goes_on_where_the_fit_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    early, late = stream(tmp_path / "early.jsonl"), stream(tmp_path / "late.jsonl", 300, seed=4, first=2_000)
    codes = [
        run(["fit", "events", str(early), "--labels", "immediate", "--out", str(tmp_path / name)]) for name in "ab"
    ]
    capsys.readouterr()

    code = run([
        "evaluate", str(late), "--what", "events", "--models", str(tmp_path / "a"), "--labels", "immediate", "-o", "json",
    ])  # fmt: skip

    figures = json.loads(capsys.readouterr().out)
    model = read_event_model(tmp_path / "a")
    assert [*codes, code] == [0, 0, 0]
    assert figures["auc"] > 0.9
    assert figures["model"] == model.labelled.hash
    assert (model.until, model.by_time) == (900, False)
    for name in ("events.toml", "events-labels.toml", "events.json", "events.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def at_times(file: Path, first_s: int) -> Path:
    """The rows with times, an hour apart."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["t"] = first_s + 3_600 * number
        del row["seq"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.usefixtures("small_machine")
def test_rows_that_do_not_follow_those_of_the_fit_are_judged_with_empty_counters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The counters' half-lives would raise an earlier year's gap to an infinite power."""
    fitted = at_times(stream(tmp_path / "fitted.jsonl"), 1_790_000_000)
    others = (
        fitted,
        at_times(stream(tmp_path / "earlier.jsonl", 300, seed=4), 1_700_000_000),
        stream(tmp_path / "counted.jsonl", 300, seed=5),
    )
    assert run(["fit", "events", str(fitted), "--labels", "immediate", "--out", str(tmp_path / "m")]) == 0
    capsys.readouterr()

    said = []
    for file in others:
        code = run([
            "evaluate", str(file), "--what", "events", "--models", str(tmp_path / "m"), "--labels", "immediate",
        ])  # fmt: skip
        said.append((code, capsys.readouterr().err))

    assert [code for code, _ in said] == [0, 0, 0]
    assert all("the counters begin empty" in err for _, err in said)
    assert "before the last event of the fit" in said[1][1]
    assert "only those of the fit have times" in said[2][1]


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize("fitted", ["none", "immediate", "40"])
def test_one_fit_serves_judging_with_labels_and_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fitted: str
) -> None:
    early, late = stream(tmp_path / "early.jsonl"), stream(tmp_path / "late.jsonl", 300, seed=4, first=2_000)
    said = []
    for words in (
        ["fit", "events", str(early), "--labels", fitted, "--out", str(tmp_path / "m")],
        *(["evaluate", str(late), "--what", "events", "--models", str(tmp_path / "m"), "--labels", labels]
          for labels in ("none", "immediate", "20")),
    ):  # fmt: skip
        assert run([*words, "-o", "json"]) == 0
        said.append(json.loads(capsys.readouterr().out))

    fit, plain, *labelled = said

    model = read_event_model(tmp_path / "m")
    assert fit["hash"] == model.card(fitted).hash
    assert plain["model"] == model.plain.hash
    assert {one["model"] for one in labelled} == {model.labelled.hash} != {model.plain.hash}
    assert min(one["auc"] for one in (plain, *labelled)) > 0.85
    assert not {name for term in model.plain.terms for name in term.features} & {*LABEL_NAMES}


@pytest.mark.usefixtures("small_machine")
def test_a_card_of_several_machines_has_the_mean_of_their_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = judge_events(read_events([stream(tmp_path / "rows.jsonl")]), "immediate")
    names, chosen = ("amount", "source_gap", "source_odds"), np.ones(len(judged.labels), np.bool_)
    settings = replace(fitting.LABELLED, share=1.0, pairs=0)

    odds = []
    for machines, seed in ((2, 5), (1, 5), (1, 6)):
        monkeypatch.setattr(fitting, "LABELLED", replace(settings, machines=machines))
        odds.append(fitting.fit_card(judged, names, chosen, seed).log_odds(judged.matrix, judged.names))

    both, first, second = odds
    assert np.allclose(both, (first + second) / 2, atol=1e-3)
    assert not np.allclose(first, second, atol=1e-3)


@pytest.mark.usefixtures("small_machine")
def test_what_is_left_out_of_a_judgement_adds_no_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = stream(tmp_path / "rows.jsonl")
    run(["fit", "events", str(file), "--out", str(tmp_path / "m")])
    capsys.readouterr()
    leave_all = [word for name in FAMILIES for word in ("--without", name)]

    code = run(["evaluate", str(file), "--what", "events", "--models", str(tmp_path / "m"), *leave_all, "-o", "json"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["auc"] == 0.5


def test_too_few_labels_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"account_id":"a","t":{n},"label":{int(n == 5)}}}\n' for n in range(60)))

    code = run(["fit", "events", str(file), "--out", str(tmp_path / "m")])

    assert code == OperatorError.exit_code
    assert "too few abusive events to fit to: 1, " in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.usefixtures("small_machine")
def test_a_damaged_card_is_refused_by_name(tmp_path: Path) -> None:
    run(["fit", "events", str(stream(tmp_path / "rows.jsonl")), "--out", str(tmp_path / "m")])
    for name in ("events", "events-labels"):
        written = tmp_path / f"m/{name}.toml"
        whole = written.read_text()
        written.write_text(whole.replace("intercept = ", "intercept = no"))

        with pytest.raises(PolicyInvalid, match=f"{name}.toml"):
            read_event_model(tmp_path / "m")

        written.write_text(whole)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("UPLOAD_GATE_DATA"), reason="UPLOAD_GATE_DATA names no labelled streams")
@pytest.mark.parametrize(("labels", "least"), [("none", 0.85), ("immediate", 0.90)])
def test_transactions_are_ranked_on_the_development_stream(
    capsys: pytest.CaptureFixture[str], labels: str, least: float
) -> None:
    file = Path(os.environ["UPLOAD_GATE_DATA"]) / "transactions.dev.jsonl.gz"

    code = run(["evaluate", str(file), "--what", "events", "--labels", labels, "-o", "json"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["auc"] > least
