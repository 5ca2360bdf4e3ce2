"""What a score costs from the vector of features to the Score with its reasons, by the shipped scorecard."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from gate.core.score import Stamp
from streams.files.model_directory import load_models
from streams.files.scorecards import load_scorecard
from streams.lab.feature_vectors import vectors
from streams.lab.rows import attempted, read
from streams.traffic.simulate import labelled_rows
from tests.bench.report import Spec
from tests.bench.stage import Stage

ROWS = 3_000
REPEATS = 40
STAMP = Stamp("epoch", 1)
MUSTS = {300: 3.0, 32: None, 8: None, 1: None}
SPECS_BY_BATCH = {
    batch: Spec(f"scores of simulated accounts, {batch} a batch", "µs CPU/score", must) for batch, must in MUSTS.items()
}
SPECS = tuple(SPECS_BY_BATCH.values())


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """The vectors of a simulation, people and attackers as they come, scored over and over in batches of each size."""
    given = _vectors()
    return {spec: [_cost(given, batch) for _ in range(rounds)] for batch, spec in SPECS_BY_BATCH.items()}


def _vectors() -> list[list[float]]:
    models = load_models(None)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in labelled_rows(3, ROWS)))
        uploads = read(file).uploads
    return [
        list(one.features.values())
        for one in vectors(((u.label, attempted(u.request, u.at_us)) for u in uploads), models)
    ]


def _cost(given: Sequence[Sequence[float]], batch: int) -> float:
    card = load_scorecard(None)
    names, times, stamps = ["a-17"] * batch, [5] * batch, [STAMP] * batch
    costs = []
    for repeat in range(REPEATS):
        start = repeat * 59 % (len(given) - batch)
        some = given[start : start + batch]
        began = time.process_time()
        for _ in range(max(1, 300 // batch)):
            list(card.scores(names, some, times, 7, stamps))
        costs.append((time.process_time() - began) / (max(1, 300 // batch) * batch) * 1e6)
    return median(costs)
