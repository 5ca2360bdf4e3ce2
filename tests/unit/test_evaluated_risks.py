"""The risks that `evaluate` judges are those of the scores that the worker's code makes of the same batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.core.score import Score
from streams.core.models.alphabet import build_alphabet
from streams.files.model_directory import load_models
from streams.files.public_suffixes import load_web_links
from streams.lab import snapshots
from streams.lab.rows import read
from streams.pipeline.effects import Effects
from streams.pipeline.rescore import backfilled
from streams.pipeline.step import process
from streams.traffic.simulate import labelled_rows

Makes = Callable[..., Effects]


@pytest.mark.parametrize("seed", [3, 7])
def test_the_last_risk_of_each_account_is_that_of_its_last_score(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = list(labelled_rows(seed, 600))
    days_later = [max(row["t"] for row in rows) + 86_400 * day for day in range(1, 13)]  # each in a batch of its own
    rows += [{"account_id": f"f-{t}", "account_created_at": t - 60, "t": t, "device": "farm"} for t in days_later]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    models, alphabet = load_models(None), build_alphabet()
    made: dict[str, Score] = {}

    def kept(makes: Makes) -> Makes:
        def make(*given: Any, **named: Any) -> Effects:
            effects = makes(*given, **named)
            made.update((score.account, score) for score, _ in effects.scores)
            return effects

        return make

    monkeypatch.setattr(snapshots, "process", kept(process))
    monkeypatch.setattr(snapshots, "backfilled", kept(backfilled))
    links = models.link_reader(alphabet, load_web_links())
    folded = snapshots.fold_stream(
        read(file).uploads, models.scorecard, models.caption_reader(alphabet), (5,), links, models.names
    )
    last = folded.last()

    odds = models.scorecard.log_odds(np.array([one.vector for one in last.values()]))
    judged = dict(zip(last, (1.0 / (1.0 + np.exp(-odds))).tolist(), strict=True))

    assert made.keys() == judged.keys()
    assert {account: score.risk for account, score in made.items()} == pytest.approx(judged, abs=1e-12)
    assert len({round(risk, 3) for risk in judged.values()}) > 3
    assert any(one.again for one in last.values())
