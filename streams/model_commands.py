"""The commands `fit` and `evaluate` of `upload-gate`: fit a model to labelled streams, and measure how good it is."""

from __future__ import annotations

import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.errors import OperatorError
from streams.account_commands import evaluate_accounts
from streams.event_commands import LabelsOption, evaluate_events, events_command
from streams.fit_accounts_command import fit_accounts
from streams.link_commands import NegativesOption, evaluate_links, links_command
from streams.model_options import FilesArgument, SeedOption, WithoutOption, progress_bar, require_fit

if TYPE_CHECKING:
    from streams.lab.detection_figures import DetectionFigures


class Judged(StrEnum):
    """The kind of model that `evaluate` judges."""

    CAPTIONS = "captions"
    ACCOUNTS = "accounts"
    LINKS = "links"
    EVENTS = "events"


USED_BY: Final = {
    "shadow": (Judged.ACCOUNTS,),
    "plots": (Judged.ACCOUNTS,),
    "negatives": (Judged.LINKS,),
    "without": (Judged.ACCOUNTS, Judged.EVENTS),
    "labels": (Judged.EVENTS,),
}
"""The options of `evaluate` that only some kinds of models use."""

fit = typer.Typer(
    help="Fit models to labelled streams.",
    epilog="Example: upload-gate fit accounts uploads.jsonl.gz --out models",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@fit.callback()
def _fit() -> None:
    """A group, so that `fit captions` is a command of its own."""


@fit.command(name="captions")
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
    given = read_labelled_captions(files, alphabet)
    fit = fit_texts(given.labelled, alphabet, seed, progress_bar)
    figures = _numbers(fit.grouped, "") | _numbers(fit.random, "random_split_")
    write_model(fit.model, Provenance(given.rows, seed, figures, sketch_of(given.labelled.texts)), out)
    if output is Output.JSON:
        emit({"model": "captions", "hash": fit.model.hash, "directory": str(out), "files": given.rows, **figures})
        return
    result(f"wrote the caption model {fit.model.hash} to {out}")
    say(_figures_text("judged by folds that split no account or copied text", fit.grouped))
    say(_figures_text("judged by a random split, which is too optimistic", fit.random))
    say("the figures hold for captions of the same source; captions of another source need labels of their own")


fit.command(name="accounts")(fit_accounts)
fit.command(name="links")(links_command(require_fit, progress_bar))
fit.command(name="events")(events_command(require_fit, progress_bar))


def evaluate(
    files: FilesArgument,
    what: Annotated[Judged, typer.Option(help="The kind of model to judge.")] = Judged.CAPTIONS,
    models: Annotated[Path | None, typer.Option(help="Directory of fitted models; the shipped ones otherwise.")] = None,
    after: Annotated[
        str, typer.Option(help="accounts: also judge accounts after these numbers of events, with commas between.")
    ] = "5,20,100",
    without: WithoutOption = None,
    labels: LabelsOption = "none",
    plots: Annotated[Path | None, typer.Option(help="accounts: directory for plots, as PNG and SVG.")] = None,
    negatives: NegativesOption = None,
    shadow: Annotated[
        Path | None,
        typer.Option(
            help="accounts: directory of models whose scorecard is compared, as UPLOAD_GATE_SHADOW_MODELS does."
        ),
    ] = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Measure how well a fitted model separates abuse on labelled rows, by the code that the worker runs.

    Example: upload-gate evaluate labelled.jsonl.gz --what captions --models models -o json
    """
    _refuse_unused(what, shadow=shadow, plots=plots, negatives=negatives, without=without, labels=labels)
    if what is Judged.ACCOUNTS:
        evaluate_accounts(files, models, after, without or (), plots, output, shadow)
        return
    if what is Judged.LINKS:
        evaluate_links(files, models, negatives, output)
        return
    if what is Judged.EVENTS:
        evaluate_events(files, models, labels, without or (), output, require_fit)
        return
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
    labelled = read_labelled_captions(files).labelled
    alphabet = build_alphabet()
    began = time.perf_counter()
    log_odds = caption_log_odds(model, alphabet, labelled.texts)
    us_per_row = (time.perf_counter() - began) / len(labelled.texts) * 1e6
    figures = detection_figures(labelled.labels, log_odds)
    if output is Output.JSON:
        emit({**asdict(figures), "us_per_row": round(us_per_row, 2), "model": model.hash})
    else:
        result(_figures_text(f"{what.value} judged by the model {model.hash}", figures))
        say(f"{us_per_row:.1f} µs a row")


def _refuse_unused(what: Judged, *, labels: str, **given: object) -> None:
    """Raises OperatorError for an option that the judged kind of model does not use."""
    given["labels"] = None if labels == "none" else labels
    for option, kinds in USED_BY.items():
        if given[option] and what not in kinds:
            raise OperatorError(
                f"--{option} does not go with --what {what.value}", f"give --what {' or '.join(kinds)}, or leave it out"
            )


def _numbers(figures: DetectionFigures, prefix: str) -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in asdict(figures).items() if value is not None}


def _figures_text(title: str, figures: DetectionFigures) -> str:
    def shown(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.3f}"

    return (
        f"{title}: {figures.rows:,} rows, {figures.positives:,} abusive; AUC {shown(figures.auc)}, "
        f"F1 at 0.5 {shown(figures.f1_at_half)}, recall {shown(figures.recall_at_1pct_fpr)} at 1 % and "
        f"{shown(figures.recall_at_01pct_fpr)} at 0.1 % false positives, calibration error {shown(figures.ece)}"
    )
