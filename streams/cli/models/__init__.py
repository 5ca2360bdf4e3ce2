"""The commands `fit …` and `evaluate` of `upload-gate`: fit a model to labelled streams, and measure how good it is.

`captions`, `links`, `events`, `accounts` and `fit_accounts` each hold what one kind of model needs. Modules of `streams.lab`
do the work.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from gate.cli.output import Output, OutputFlag
from gate.errors import OperatorError
from streams.cli.models.accounts import evaluate_accounts
from streams.cli.models.captions import evaluate_captions, fit_captions
from streams.cli.models.events import LabelsOption, evaluate_events, fit_events
from streams.cli.models.fit_accounts import fit_accounts
from streams.cli.models.links import NegativesOption, evaluate_links, fit_links
from streams.cli.models.options import FilesArgument, WithoutOption


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
fit.command(name="captions")(fit_captions)
fit.command(name="accounts")(fit_accounts)
fit.command(name="links")(fit_links)
fit.command(name="events")(fit_events)


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
    match what:
        case Judged.CAPTIONS:
            evaluate_captions(files, models, output)
        case Judged.ACCOUNTS:
            evaluate_accounts(files, models, after, without or (), plots, output, shadow)
        case Judged.LINKS:
            evaluate_links(files, models, negatives, output)
        case Judged.EVENTS:
            evaluate_events(files, models, labels, without or (), output)


def _refuse_unused(what: Judged, *, labels: str, **given: object) -> None:
    """Raises OperatorError for an option that the judged kind of model does not use."""
    given["labels"] = None if labels == "none" else labels
    for option, kinds in USED_BY.items():
        if given[option] and what not in kinds:
            raise OperatorError(
                f"--{option} does not go with --what {what.value}", f"give --what {' or '.join(kinds)}, or leave it out"
            )
