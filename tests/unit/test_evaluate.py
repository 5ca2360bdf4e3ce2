"""Detection figures: exact values for small cases, and agreement with the definition by counting pairs."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gate.cli.main import build
from streams.core.features import FEATURES
from streams.core.models.alphabet import build_alphabet
from streams.files.model_directory import load_models
from streams.lab.detection_figures import separation
from streams.lab.evaluate_accounts import evaluate_accounts
from streams.lab.feature_vectors import vectors
from streams.lab.rows import attempted, read
from streams.traffic.simulate import labelled_rows


def test_a_perfect_score_has_an_auc_of_one_and_catches_everybody() -> None:
    pairs = [(1, 0.9), (1, 0.8), (0, 0.2), (0, 0.1)]

    assert separation(pairs).auc == 1.0
    assert separation(pairs).recall == 1.0


def test_a_score_that_says_nothing_has_an_auc_of_a_half() -> None:
    pairs = [(1, 0.5), (0, 0.5), (0, 0.5)]

    assert separation(pairs).auc == 0.5
    assert separation(pairs).recall == 0.0


def test_a_score_that_is_always_wrong_has_an_auc_of_zero() -> None:
    assert separation([(1, 0.1), (0, 0.9)]).auc == 0.0


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_allows_no_figure(label: int) -> None:
    found = separation([(label, 0.3), (label, 0.7)])

    assert found.accounts == 2
    assert found.auc is None
    assert found.recall is None


def test_nothing_at_all_allows_no_figure() -> None:
    found = separation([])

    assert (found.accounts, found.auc, found.recall) == (0, None, None)


def test_unlabelled_accounts_are_left_out() -> None:
    found = separation([(1, 0.9), (-1, 1.0), (0, 0.1), (-1, 0.0)])

    assert (found.accounts, found.abusive, found.auc) == (2, 1, 1.0)


def test_one_honest_account_in_a_hundred_may_be_wronged_but_not_two() -> None:
    honest = [(0, 0.0)] * 98 + [(0, 0.8), (0, 0.6)]

    assert separation([*honest, (1, 0.9), (1, 0.7), (1, 0.5)]).recall == pytest.approx(2 / 3)


def test_accounts_of_equal_score_are_caught_together_or_not_at_all() -> None:
    honest = [(0, 0.7)] * 2 + [(0, 0.0)] * 98

    assert separation([*honest, (1, 0.7), (1, 0.9)]).recall == 0.5


@pytest.mark.parametrize("seed", range(20))
def test_the_auc_is_the_share_of_pairs_that_are_in_order(seed: int) -> None:
    rng = random.Random(seed)
    pairs = [(rng.randrange(2), rng.randrange(6) / 5) for _ in range(60)] + [(0, 0.0), (1, 1.0)]

    won = [
        1.0 if abusive > honest else 0.5 if abusive == honest else 0.0
        for label, abusive in pairs if label == 1
        for other, honest in pairs if other == 0
    ]  # fmt: skip

    assert separation(pairs).auc == pytest.approx(sum(won) / len(won))


def test_the_shipped_scorecard_tells_simulated_attackers_from_people(tmp_path: Path) -> None:
    file, models = tmp_path / "rows.jsonl", load_models(None)
    file.write_text("".join(json.dumps(row) + "\n" for row in labelled_rows(3, 2000)))
    uploads = read(file).uploads

    found = evaluate_accounts(uploads, models.scorecard, models.caption_reader(build_alphabet()))

    assert found.accounts == len({upload.request.account.id for upload in uploads})
    assert found.last.auc is not None
    assert found.last.auc > 0.95


def test_every_event_gives_the_whole_vector_of_features_in_order_with_its_label(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in labelled_rows(3, 200)))
    uploads = read(file).uploads

    found = list(vectors(((u.label, attempted(u.request, u.at_us)) for u in uploads), load_models(None)))

    assert [one.offset for one in found] == list(range(200))
    assert [(one.account, one.label) for one in found] == [(u.request.account.id, u.label) for u in uploads]
    assert all(list(one.features) == [feature.name for feature in FEATURES] for one in found)
    last = {one.account: one.features["uploads"] for one in found}
    assert sum(last.values()) == 200


def test_replay_writes_the_vectors_before_it_looks_for_a_system(tmp_path: Path) -> None:
    rows, target = tmp_path / "rows.jsonl", tmp_path / "features.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in labelled_rows(3, 20)))
    nowhere = ["--state", str(tmp_path), "--redis", "redis://127.0.0.1:1", "--kafka", "127.0.0.1:1"]

    done = CliRunner().invoke(build(["replay"]), ["replay", str(rows), "--features", str(target), *nowhere])

    written = [json.loads(line) for line in target.read_text().splitlines()]
    assert done.exit_code != 0
    assert len(written) == 20
    assert list(written[0]) == ["account", "offset", "label", "features"]
