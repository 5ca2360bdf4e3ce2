"""Fitting the caption model: the same rows give the same bytes, too few labels are refused, a damaged file is not used."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from gate.cli.main import run
from gate.errors import OperatorError, PolicyInvalid
from streams.core.models.alphabet import build_alphabet
from streams.core.models.captions import caption_log_odds
from streams.files.models import read_model, shipped_models
from streams.lab.detection_figures import auc_of, calibration_error, detection_figures, recall_at_share
from streams.lab.fit_texts import Labelled, fit_texts, fold_models
from streams.lab.labelled_texts import group_numbers, read_labelled_captions

GOOD = (
    "a walk by the lake",
    "the bread came out well",
    "see you at the concert",
    "rain again this week",
    "my new bike",
)
BAD = ("claim a free token", "double your coins", "cheap followers fast", "win a phone now", "crypto bonus inside")


def labelled_file(path: Path, count: int, seed: int = 3) -> Path:
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        phrases, label = (BAD, 1) if number % 2 else (GOOD, 0)
        text = f"{rng.choice(phrases)} {rng.choice(phrases)} {rng.randrange(99)}"
        rows.append({"account_id": f"a{number}", "t": None, "seq": number, "text": text, "label": label})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models fitted to 120 rows with seed 4; copy them before you change them."""
    folder = tmp_path_factory.mktemp("fitted")
    file = labelled_file(folder / "rows.jsonl", 120)
    assert run(["fit", "captions", str(file), "--out", str(folder / "models"), "--seed", "4"]) == 0
    return folder / "models"


def test_the_linear_algebra_of_a_fit_takes_one_thread_on_any_number_of_cores() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    numbers = np.arange(60)
    labelled = Labelled([f"{(GOOD, BAD)[n % 2][n % 5]} {n}" for n in numbers], numbers % 2, numbers, numbers)
    threads: list[int] = []

    def look(share: float, what: str) -> None:
        threads.extend(of["num_threads"] for of in threadpoolctl.threadpool_info() if of["user_api"] == "blas")

    with threadpoolctl.threadpool_limits(limits=2):
        fit_texts(labelled, build_alphabet(), 1, look)

    assert set(threads) == {1}


def test_the_same_rows_and_seed_give_the_same_files(fitted: Path, tmp_path: Path) -> None:
    file = labelled_file(tmp_path / "rows.jsonl", 120)

    code = run(["fit", "captions", str(file), "--out", str(tmp_path), "--seed", "4"])

    assert code == 0
    assert (tmp_path / "captions.npz").read_bytes() == (fitted / "captions.npz").read_bytes()
    assert (tmp_path / "captions.json").read_bytes() == (fitted / "captions.json").read_bytes()


def test_rows_of_one_class_are_refused_before_families_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "".join(json.dumps({"account_id": f"a{n}", "text": GOOD[n % 5], "label": 0}) + "\n" for n in range(60))
    )
    monkeypatch.setattr("streams.lab.labelled_texts.family_numbers", lambda *_: pytest.fail("it looked for families"))

    code = run(["fit", "captions", str(file), "--out", str(tmp_path)])

    assert code == 2
    assert "too few abusive rows with a text: 0, and a fit needs at least 25" in capsys.readouterr().err


def test_a_fitted_model_tells_held_out_captions_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = labelled_file(tmp_path / "train.jsonl", 200, 1), labelled_file(tmp_path / "test.jsonl", 100, 2)
    run(["fit", "captions", str(train), "--out", str(tmp_path / "models")])
    capsys.readouterr()

    code = run(["evaluate", str(test), "--what", "captions", "--models", str(tmp_path / "models"), "-o", "json"])

    figures = json.loads(capsys.readouterr().out)
    assert code == 0
    assert figures["rows"] == 100
    assert figures["positives"] == 50
    assert figures["auc"] > 0.95
    assert figures["recall_at_1pct_fpr"] > 0.9
    assert figures["ece"] < 0.2


def test_many_captions_of_one_account_do_not_drown_those_of_other_accounts() -> None:
    rng = random.Random(5)
    loud = [f"double your coins {rng.randrange(9)} at {rng.choice(GOOD)}" for _ in range(150)]
    others = [f"claim a free token {rng.randrange(9)} at {rng.choice(GOOD)}" for _ in range(15)]
    honest = [f"{rng.choice(GOOD)} and {rng.choice(GOOD)} {rng.randrange(9)}" for _ in range(150)]
    texts, alone = [*loud, *others, *honest], np.arange(315)
    labels = np.array([1] * 165 + [0] * 150, np.int64)
    authors = np.where(alone < len(loud), 0, alone)
    alphabet = build_alphabet()

    _, as_they_are = fold_models(Labelled(texts, labels, alone, alone), alphabet, 1, 2, lambda share: None)
    _, by_author = fold_models(Labelled(texts, labels, alone, authors), alphabet, 1, 2, lambda share: None)

    before, after = (caption_log_odds(models[0], alphabet, [loud[0], others[0]]) for models in (as_they_are, by_author))
    assert after[1] - after[0] > before[1] - before[0] + 0.5


def test_a_fit_says_how_many_labels_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = labelled_file(tmp_path / "few.jsonl", 40)

    code = run(["fit", "captions", str(file), "--out", str(tmp_path / "models")])

    assert code == OperatorError.exit_code
    assert "too few abusive rows with a text: 20" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_rows_without_text_or_label_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"account_id":"a","text":"hello","label":0}\n{"account_id":"b","text":null,"label":1}\n'
        '{"account_id":"c","text":"hi","label":-1}\n{"account_id":"d","text":["hi"],"label":1}\n'
        '{"account_id":"e","text":7,"label":1}\n'
    )

    given = read_labelled_captions([file])

    assert list(given.labelled.texts) == ["hello"]
    assert given.rows == {"rows.jsonl": 1}


def test_items_that_share_a_key_through_others_are_one_group() -> None:
    numbers = group_numbers([("a", "x"), ("b", "y"), ("b", "x"), ("c", "z")])

    assert numbers[0] == numbers[1] == numbers[2]
    assert numbers[3] != numbers[0]


@pytest.mark.parametrize("damage", ["truncate", "swap", "missing"])
def test_a_damaged_model_is_refused_by_name(fitted: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(fitted, tmp_path / "models")
    weights = tmp_path / "models/captions.npz"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:500])
    elif damage == "missing":
        weights.unlink()
    else:
        about = tmp_path / "models/captions.json"
        about.write_text(about.read_text().replace(json.loads(about.read_text())["hash"], "0" * 12))

    with pytest.raises(PolicyInvalid, match="captions"):
        read_model(tmp_path / "models")


def test_a_model_of_the_version_before_is_refused_and_the_message_says_to_fit_again(
    fitted: Path, tmp_path: Path
) -> None:
    shutil.copytree(fitted, tmp_path / "models")
    about = tmp_path / "models/captions.json"
    about.write_text(about.read_text().replace('"version": 2', '"version": 1'))

    with pytest.raises(PolicyInvalid, match="version: must be 2; fit the model again"):
        read_model(tmp_path / "models")


def test_evaluate_without_models_judges_the_shipped_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = labelled_file(tmp_path / "rows.jsonl", 40)

    code = run(["evaluate", str(file), "--what", "captions", "-o", "json"])

    shipped = shipped_models()
    assert code == 0
    assert shipped is not None
    assert json.loads(capsys.readouterr().out)["model"] == read_model(shipped).hash


def test_figures_of_a_perfect_a_useless_and_a_reversed_ranking() -> None:
    labels = np.array([0, 0, 1, 1])

    assert auc_of(labels, np.array([0.1, 0.2, 0.3, 0.4])) == 1.0
    assert auc_of(labels, np.array([1.0, 1.0, 1.0, 1.0])) == 0.5
    assert auc_of(labels, np.array([4.0, 3.0, 2.0, 1.0])) == 0.0


def test_recall_counts_what_lies_above_the_allowed_share_of_honest_rows() -> None:
    labels = np.array([0] * 100 + [1] * 4)
    values = np.concatenate([np.arange(100.0), [98.5, 99.5, 97.5, 98.0]])

    assert recall_at_share(labels, values, 0.01) == 0.5
    assert recall_at_share(labels, values, 0.0) == 0.25


def test_calibration_error_is_the_mean_distance_from_the_truth() -> None:
    labels = np.array([0, 1, 0, 1])

    assert calibration_error(labels, np.array([0.5, 0.5, 0.5, 0.5])) == 0.0
    assert calibration_error(labels, np.array([0.9, 0.9, 0.9, 0.9])) == pytest.approx(0.4)


def test_labels_of_one_class_give_no_figures() -> None:
    figures = detection_figures(np.zeros(3, np.int64), np.zeros(3))

    assert figures.auc is None
    assert figures.rows == 3
