"""A directory of models: what it may hold, one hash for all of it, and that scores and the worker's log name it."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from gate.core.score import Score, ShadowScore, Stamp
from gate.errors import PolicyInvalid
from gate.records.score import decode_score, encode_score, stored_score, with_bytes
from streams.core.models.ngrams import TABLE_BITS
from streams.files.model_directory import Models, combined, load_models
from streams.files.models import Provenance, caption_model, write_model
from streams.files.scorecard_text import scorecard_text
from streams.files.scorecards import load_scorecard
from streams.pipeline.effects import Scores
from streams.worker.metrics import WorkerMetrics
from streams.worker.models_in_use import models_line, models_of
from streams.worker.settings import read_worker_settings
from tests.scorecards import vector

SHIPPED = load_scorecard(None)
STAMP = Stamp("e", 3)


def with_captions(directory: Path, weight: int = 1) -> Path:
    table = np.full(1 << TABLE_BITS, weight, np.int16)
    write_model(caption_model(table, 0.5, -1.0, -2.0), Provenance({"rows.jsonl": 9}, 1, {"auc": 0.9}), directory)
    return directory


def with_scorecard(directory: Path, base_rate: float = 0.05) -> Path:
    directory.mkdir(exist_ok=True)
    text = scorecard_text(SHIPPED).replace("base_rate = 0.02", f"base_rate = {base_rate}")
    (directory / "scorecard.toml").write_text(text)
    return directory


def score_of(models: Models, **values: float) -> Score:
    return models.scorecard.score("a-1", vector(**values), 5, 7, STAMP)


def test_without_a_directory_the_shipped_models_are_read_and_scores_name_them() -> None:
    models = load_models(None)

    assert models.captions is not None
    assert models.hash == combined({"captions": models.captions.hash})
    assert models.scorecard == replace(SHIPPED, models=models.hash)
    assert json.loads(encode_score(score_of(models)))["models"] == models.hash


def test_without_shipped_models_scores_name_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.files.model_directory.shipped_models", lambda: None)

    models = load_models(None)

    assert (models.hash, dict(models.read), models.captions) == ("", {}, None)
    assert models.scorecard == SHIPPED
    assert "models" not in json.loads(encode_score(score_of(models)))


def test_a_directory_gives_its_scorecard_and_its_models_and_every_score_names_both(tmp_path: Path) -> None:
    models = load_models(with_scorecard(with_captions(tmp_path / "models")))

    document = json.loads(encode_score(score_of(models)))
    assert models.captions is not None
    assert models.scorecard.base_rate == 0.05
    assert models.hash == combined({"captions": models.captions.hash}) != ""
    assert (document["scorecard"], document["models"]) == (models.scorecard.hash, models.hash)
    assert decode_score(encode_score(score_of(models))).models == models.hash


def test_a_directory_with_models_alone_scores_by_the_shipped_scorecard(tmp_path: Path) -> None:
    models = load_models(with_captions(tmp_path))

    assert models.scorecard == replace(SHIPPED, models=models.hash)
    assert score_of(models).scorecard == SHIPPED.hash


def test_a_scorecard_that_is_given_replaces_that_of_the_directory(tmp_path: Path) -> None:
    own = with_scorecard(tmp_path / "own", 0.1) / "scorecard.toml"

    models = load_models(with_scorecard(with_captions(tmp_path / "models")), own)

    assert models.scorecard.base_rate == 0.1
    assert models.hash


def test_the_hash_follows_the_weights_and_nothing_else(tmp_path: Path) -> None:
    one, same, other = (
        load_models(with_captions(tmp_path / name, weight)) for name, weight in (("a", 1), ("b", 1), ("c", 2))
    )

    assert one.hash == same.hash != other.hash


@pytest.mark.parametrize("name", ["captions.npz", "captions.json", "scorecard.toml", "names.npz"])
def test_a_link_to_nothing_is_no_model_that_is_not_wanted(tmp_path: Path, name: str) -> None:
    directory = with_scorecard(with_captions(tmp_path / "models"))
    for held in directory.glob(f"{name.partition('.')[0]}.*"):
        held.unlink()
    (directory / name).symlink_to(tmp_path / "nothing")

    with pytest.raises(PolicyInvalid, match="cannot be read"):
        load_models(directory)


def test_a_fit_that_cannot_write_all_its_files_leaves_the_model_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_models(with_captions(tmp_path)).hash
    kept = sorted(tmp_path.iterdir())
    synced = iter([None, OSError(errno.ENOSPC, "No space left on device")])

    def sync(file: int) -> None:
        if (error := next(synced)) is not None:
            raise error

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match="No space left"):
        with_captions(tmp_path, 2)

    assert sorted(tmp_path.iterdir()) == kept
    assert load_models(tmp_path).hash == before


def test_a_fit_into_a_directory_of_links_writes_what_they_lead_to(tmp_path: Path) -> None:
    there, links = with_captions(tmp_path / "there"), tmp_path / "links"
    links.mkdir()
    for file in there.iterdir():
        (links / file.name).symlink_to(file)

    with_captions(links, 2)

    assert all(path.is_symlink() for path in links.iterdir())
    assert load_models(there).hash == load_models(with_captions(tmp_path / "new", 2)).hash


def test_a_directory_without_models_or_with_half_a_model_is_refused(tmp_path: Path) -> None:
    (with_captions(tmp_path / "half") / "captions.json").unlink()

    with pytest.raises(PolicyInvalid, match=r"holds none of scorecard\.toml, captions\.npz"):
        load_models(tmp_path / "nothing")
    with pytest.raises(PolicyInvalid, match=r"captions\.json"):
        load_models(tmp_path / "half")


def test_a_shadow_is_scored_beside_and_changes_nothing_that_a_gate_reads(tmp_path: Path) -> None:
    live, shadow = load_models(None), load_models(with_scorecard(with_captions(tmp_path), 0.3))

    alone, beside = score_of(live, burst=0.9), score_of(live.with_shadow(shadow), burst=0.9)

    assert beside.shadow is not None
    assert beside.shadow.risk == score_of(shadow, burst=0.9).risk > alone.risk == beside.risk
    assert (beside.shadow.scorecard, beside.shadow.models) == (shadow.scorecard.hash, shadow.hash)
    assert replace_shadow(beside) == alone
    head = len(stored_score(with_bytes(alone))) - len(encode_score(alone))
    assert stored_score(with_bytes(beside))[:head] == stored_score(with_bytes(alone))[:head]


def replace_shadow(score: Score) -> Score:
    fields = {name: getattr(score, name) for name in score.__struct_fields__}
    return Score(**(fields | {"shadow": None}))


def test_a_shadow_reads_back_and_is_its_own_field_of_the_document() -> None:
    score = Score("a", 0.1, 0.2, 0.2, (), 1_000_000, 1_000_000, STAMP, "card", models="m1")
    beside = Score("a", 0.1, 0.2, 0.2, (), 1_000_000, 1_000_000, STAMP, "card", models="m1",
                   shadow=ShadowScore(0.5, 0.25, 0.5, "other"))  # fmt: skip

    document = json.loads(encode_score(beside))

    assert document.pop("shadow") == {"bot": 0.5, "scam": 0.25, "risk": 0.5, "scorecard": "other"}
    assert document == json.loads(encode_score(score))
    assert decode_score(encode_score(beside)) == beside


def test_a_batch_and_a_single_account_have_the_same_shadow(tmp_path: Path) -> None:
    card = load_models(None).with_shadow(load_models(with_scorecard(tmp_path))).scorecard
    vectors = [vector(uploads=n, burst=n / 40, device_accounts=n) for n in range(40)]

    together = list(card.scores(["a"] * 40, vectors, [5] * 40, 7, [STAMP] * 40))

    assert together == [card.score("a", one, 5, 7, STAMP) for one in vectors]
    assert all(score.shadow is not None for score in together)


def test_differences_of_a_shadow_are_counted_by_size_and_by_the_risk_that_only_one_reaches() -> None:
    def pair(risk: float, shadow: float) -> Score:
        return Score("a", 0.0, risk, risk, (), 1, 1, STAMP, "card", shadow=ShadowScore(0.0, shadow, shadow, "other"))

    scores = [pair(0.5, 0.5), pair(0.49, 0.51), pair(0.9, 0.1), pair(0.1, 0.72)]
    scores.append(Score("b", 0.0, 0.9, 0.9, (), 1, 1, STAMP, "card"))
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)

    for increment in Scores([with_bytes(score) for score in scores]).increments():
        metrics.count(increment)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"upload_gate_shadow_{name}_total", labels)

    assert [value("scores", apart=band) for band in ("0.01", "0.05", "0.2", "1")] == [1, 1, 0, 2]
    assert [value("disagreements", risk=risk, only="live") for risk in ("0.5", "0.7", "0.85")] == [1, 1, 1]
    assert [value("disagreements", risk=risk, only="shadow") for risk in ("0.5", "0.7", "0.85")] == [2, 1, 0]


def test_the_worker_takes_its_models_from_the_environment_and_names_them_in_its_log(tmp_path: Path) -> None:
    live, shadow = with_captions(tmp_path / "live"), with_scorecard(with_captions(tmp_path / "shadow", 2))
    env = {"UPLOAD_GATE_KAFKA": "127.0.0.1:1", "UPLOAD_GATE_MODELS": str(live)}

    plain = models_of(read_worker_settings({"UPLOAD_GATE_KAFKA": "127.0.0.1:1"}))
    alone = models_of(read_worker_settings(env))
    beside = models_of(read_worker_settings(env | {"UPLOAD_GATE_SHADOW_MODELS": str(shadow)}))

    other = load_models(shadow)
    assert models_line(plain) == f"scores are made by scorecard {SHIPPED.hash} with models {load_models(None).hash}"
    assert models_line(alone) == f"scores are made by scorecard {SHIPPED.hash} with models {alone.hash}"
    assert f"; scorecard {other.scorecard.hash} with models {other.hash} is in shadow" in models_line(beside)
    assert "its own captions and links are not read" in models_line(beside)
    assert beside.scorecard.shadow == other.scorecard
