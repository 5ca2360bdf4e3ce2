"""The caption model on the command line: `fit captions` and `evaluate --what captions`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.errors import OperatorError
from streams.cli.models.figures import flat, shown
from streams.cli.models.options import FilesArgument, SeedOption, require_fit, shown_progress

if TYPE_CHECKING:
    from streams.lab.detection_figures import DetectionFigures


def fit_captions(
    files: FilesArgument,
    out: Annotated[Path, typer.Option("--out", help="Directory for the model; created if it is missing.")],
    seed: SeedOption = 1,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Fit the caption model to labelled captions and write it to a directory.

    Example: upload-gate fit captions labelled.jsonl.gz --out models
    """
    require_fit()
    from streams.core.models.alphabet import build_alphabet
    from streams.files.models import Provenance, write_model
    from streams.lab.cross_fitted import sketch_of
    from streams.lab.fit_texts import fit_texts
    from streams.lab.labelled_texts import read_labelled_captions

    alphabet = build_alphabet()
    with shown_progress() as progress:
        given = read_labelled_captions(files, alphabet)
        say(*given.notes)
        fit = fit_texts(given.labelled, alphabet, seed, progress)
    figures = flat(fit.grouped) | flat(fit.random, "random_split_")
    write_model(fit.model, Provenance(given.rows, seed, figures, sketch_of(given.labelled.texts)), out)
    if output is Output.JSON:
        emit({"model": "captions", "hash": fit.model.hash, "directory": str(out), "files": given.rows, **figures})
        return
    result(f"wrote the caption model {fit.model.hash} to {out}")
    say(_text("judged by folds that split no account or copied text", fit.grouped))
    say(_text("judged by a random split, which is too optimistic", fit.random))
    say("the figures hold for captions of the same source; captions of another source need labels of their own")


def evaluate_captions(files: Sequence[Path], models: Path | None, output: Output) -> None:
    """Judge the caption model in `models`, the shipped one for None, on the captions of `files`, and print the figures."""
    from streams.files.models import shipped_models

    models = models or shipped_models()
    if models is None:
        raise OperatorError("no model is named", "give --models DIR, a directory that `upload-gate fit` wrote")
    from streams.core.models.alphabet import build_alphabet
    from streams.core.models.captions import caption_log_odds
    from streams.files.models import read_model
    from streams.lab.detection_figures import detection_figures
    from streams.lab.labelled_texts import read_labelled_captions

    model = read_model(models)
    given = read_labelled_captions(files)
    say(*given.notes)
    labelled = given.labelled
    alphabet = build_alphabet()
    began = time.perf_counter()
    log_odds = caption_log_odds(model, alphabet, labelled.texts)
    us_per_row = (time.perf_counter() - began) / len(labelled.texts) * 1e6
    figures = detection_figures(labelled.labels, log_odds)
    if output is Output.JSON:
        emit({**asdict(figures), "us_per_row": round(us_per_row, 2), "model": model.hash})
    else:
        result(_text(f"captions judged by the model {model.hash}", figures))
        say(f"{us_per_row:.1f} µs a row")


def _text(title: str, figures: DetectionFigures) -> str:
    return (
        f"{title}: {figures.rows:,} rows, {figures.positives:,} abusive; AUC {shown(figures.auc)}, "
        f"F1 at 0.5 {shown(figures.f1_at_half)}, recall {shown(figures.recall_at_1pct_fpr)} at 1 % and "
        f"{shown(figures.recall_at_01pct_fpr)} at 0.1 % false positives, calibration error {shown(figures.ece)}"
    )
