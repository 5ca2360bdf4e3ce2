"""`evaluate` with models in shadow: how far two scorecards are apart on the same accounts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gate.cli.main import run
from streams.cli.models.accounts import of_accounts, shadow_lines
from streams.lab.evaluate_accounts import Ranking
from streams.lab.shadow_figures import shadow_figures


def log_odds(*risks: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    given = np.array(risks)
    return np.log(given / (1.0 - given))


def test_risks_are_counted_by_how_far_they_are_apart_and_by_who_alone_reaches_a_level() -> None:
    labels = np.array([1, 1, 0, 0, 0])
    live = log_odds(0.9, 0.4, 0.1, 0.6, 0.2)
    shadow = log_odds(0.9, 0.8, 0.13, 0.1, 0.15)

    made = shadow_figures("abc", labels, live, shadow).as_json()

    assert made["apart"] == {"0.01": 0.2, "0.05": 0.2, "0.2": 0.2, "1": 0.4}
    assert made["mean_apart"] == pytest.approx((0.4 + 0.03 + 0.5 + 0.05) / 5)
    assert made["disagreements"]["0.5"] == {
        "live": {"abusive": 0, "benign": 1},
        "shadow": {"abusive": 1, "benign": 0},
    }
    assert made["disagreements"]["0.85"]["shadow"]["abusive"] == 0
    assert (made["auc"], made["recall_at_1pct_fpr"], made["scorecard"]) == (1.0, 1.0, "abc")


def test_the_lines_on_a_scorecard_in_shadow_add_shares_up_and_say_whom_one_alone_lifts() -> None:
    labels = np.array([1, 1, 0, 0, 0])
    made = shadow_figures("abc", labels, log_odds(0.9, 0.4, 0.1, 0.6, 0.2), log_odds(0.9, 0.8, 0.13, 0.1, 0.15))

    lines = shadow_lines(made)

    assert (
        lines[1]
        == "share of accounts whose two risks are apart by at most 0.01: 0.200, 0.05: 0.400, 0.2: 0.600, 1: 1.000"
    )
    assert lines[2] == (
        "to a risk of 0.5 the scorecard alone lifts 0 abusive and 1 honest accounts, the one in shadow alone 1 and 0"
    )


@pytest.mark.parametrize(
    ("ranking", "said"),
    [
        (Ranking(0, None, None, None), "no account has so many"),
        (Ranking(1, None, None, None), "1 account, all of one label"),
        (Ranking(40, 0.9, 0.5, 0.4), "40 accounts, AUC 0.900, recall 0.500 at 1 % and 0.400 at 0.5 % false positives"),
    ],
)
def test_accounts_that_cannot_be_ranked_are_said_to_be_none_or_of_one_label(ranking: Ranking, said: str) -> None:
    assert of_accounts(ranking) == said


def test_accounts_of_one_class_have_no_ranking_in_shadow() -> None:
    made = shadow_figures("abc", np.array([0, 0]), log_odds(0.1, 0.2), log_odds(0.1, 0.2))

    assert (made.auc, made.recall_at_1pct_fpr, made.mean_apart) == (None, None, 0.0)


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    rows = [
        {"account_id": f"a{n % 8}", "seq": n, "t": None, "text": f"walk by the lake {n}", "label": n % 2}
        for n in range(40)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_shipped_scorecard_in_shadow_of_itself_differs_nowhere(
    stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    shipped = (Path(__file__).parents[2] / "config" / "scorecard.toml").read_text()
    (models / "scorecard.toml").write_text(shipped)
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "scorecard.toml").write_text(shipped.replace("base_rate = 0.02", "base_rate = 0.2"))
    given = ["evaluate", str(stream), "--what", "accounts", "--models", str(models), "-o", "json"]

    same = run([*given, "--shadow", str(models)]), json.loads(capsys.readouterr().out)["shadow"]
    other = run([*given, "--shadow", str(changed)]), json.loads(capsys.readouterr().out)["shadow"]

    assert (same[0], same[1]["mean_apart"], same[1]["apart"]["0.01"]) == (0, 0.0, 1.0)
    assert (other[0], other[1]["apart"]["0.01"]) == (0, 0.0)
    assert other[1]["mean_apart"] > 0.1


@pytest.mark.parametrize(
    ("what", "given", "remedy"),
    [
        ("captions", ["--shadow", "models"], "--what accounts,"),
        ("captions", ["--plots", "plots"], "--what accounts,"),
        ("accounts", ["--negatives", "honest.txt"], "--what links,"),
        ("links", ["--without", "age"], "--what accounts or events,"),
        ("accounts", ["--labels", "immediate"], "--what events,"),
    ],
)
def test_an_option_that_the_judged_models_do_not_use_is_refused(
    stream: Path, capsys: pytest.CaptureFixture[str], what: str, given: list[str], remedy: str
) -> None:
    code = run(["evaluate", str(stream), "--what", what, *given])

    said = " ".join(capsys.readouterr().err.split())
    assert code == 2
    assert f"{given[0]} does not go with --what {what}" in said
    assert remedy in said
