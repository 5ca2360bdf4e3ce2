"""The link model on the command line: `fit links` and `evaluate --what links`."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.errors import OperatorError
from streams.cli.models.figures import flat, shown
from streams.cli.models.options import SeedOption, require_fit, shown_progress

if TYPE_CHECKING:
    from streams.lab.detection_figures import DetectionFigures

LinkFilesArgument = Annotated[
    list[Path],
    typer.Argument(
        help="Lists of abusive links (CSV of first_seen_unix,entry) and labelled rows with urls (*.jsonl); also *.gz.",
        show_default=False,
        metavar="FILE...",
    ),
]
NegativesOption = Annotated[
    Path | None,
    typer.Option(help="Honest links: a CSV of first_seen_unix,entry, one link a line, or rows with urls."),
]


def fit_links(
    files: LinkFilesArgument,
    out: Annotated[Path, typer.Option("--out", help="Directory for the model; created if it is missing.")],
    seed: SeedOption = 1,
    negatives: NegativesOption = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Fit the models of links and of names to abusive and honest links and write them to a directory.

    The fit always adds honest hosts from an installed package, and generated names on shared hosting.

    Example: upload-gate fit links scam_links.csv.gz rows.jsonl.gz --negatives honest.txt --out models
    """
    require_fit()
    from streams.core.models.alphabet import build_alphabet
    from streams.files.link_models import write_link_model
    from streams.files.models import Provenance
    from streams.files.name_models import write_name_model
    from streams.files.public_suffixes import load_web_links
    from streams.lab.fit_links import fit_links as fit_models
    from streams.lab.link_sources import links_to_fit

    web = load_web_links()
    with shown_progress() as progress:
        given = links_to_fit(files, negatives, web, seed)
        say(*given.notes)
        fit = fit_models(given.sources, build_alphabet(), web, seed, progress)
    figures = flat(fit.grouped) | flat(fit.random, "random_split_") | flat(fit.later, "later_")
    write_link_model(fit.model, Provenance(given.counts, seed, figures), out)
    write_name_model(fit.names, Provenance(given.counts, seed, {"weight": fit.names.weight}), out)
    if output is Output.JSON:
        emit(
            {
                "model": "links",
                "hash": fit.model.hash,
                "names": fit.names.hash,
                "directory": str(out),
                "files": given.counts,
                **figures,
            }
        )
        return
    result(f"wrote the link model {fit.model.hash} and the name model {fit.names.hash} to {out}")
    say(_text("judged by folds that split no site", fit.grouped))
    say(_text("judged by a random split, which is too optimistic", fit.random))
    if fit.later is not None:
        say(_text("judged on sites first seen after those it was fitted on", fit.later))
    say("scams move on: fit it again when the list of abusive links has grown")


def evaluate_links(files: list[Path], models: Path | None, negatives: Path | None, output: Output) -> None:
    """Judge the models in `models` on the links of `files`; without honest links among them on those at hand.

    With a name model beside the link model, rows are judged in the order of time, each as a worker would at its moment.
    """
    if models is None:
        raise OperatorError("no model is named", "give --models DIR, a directory that `upload-gate fit links` wrote")
    import numpy as np

    from streams.core.models.alphabet import build_alphabet
    from streams.core.models.link_model import link_log_odds
    from streams.files.link_models import read_link_model
    from streams.files.model_directory import load_models
    from streams.files.public_suffixes import load_web_links
    from streams.lab.detection_figures import detection_figures
    from streams.lab.link_sources import links_to_judge
    from streams.lab.name_stream import name_odds, placed

    model, web = read_link_model(models), load_web_links()
    names = load_models(models).names
    given = links_to_judge(files, negatives, web)
    say(*given.notes)
    rows = [row for source in given.sources for row in source]
    alphabet = build_alphabet()
    began = time.perf_counter()
    log_odds = link_log_odds(model, alphabet, [row.text for row in rows])
    labels = np.array([row.label for row in rows], np.int64)
    times = None if names is None else placed(rows)
    alone = None
    if names is not None and times is not None:
        alone = detection_figures(labels, log_odds)
        log_odds = log_odds + name_odds(rows, times, names, web)
    us_per_row = (time.perf_counter() - began) / len(rows) * 1e6
    figures = detection_figures(labels, log_odds)
    for name, count in given.counts.items():
        say(f"{name}: {count:,} links")
    if output is Output.JSON:
        stream = {"stream": alone is not None, "link_alone": None if alone is None else asdict(alone)}
        emit({**asdict(figures), "us_per_row": round(us_per_row, 2), "model": model.hash, **stream})
    else:
        if alone is not None and names is not None:
            undated = sum(row.at_s is None for row in rows)
            result(_text(f"links judged in order of time, with campaigns of names by the model {names.hash}", figures))
            if undated:
                say(f"{undated:,} links without a time were spread evenly over the span of those with one")
        result(_text(f"links judged by the model {model.hash} alone", alone or figures))
        say(f"{us_per_row:.1f} µs a row")


def _text(title: str, figures: DetectionFigures) -> str:
    return (
        f"{title}: {figures.rows:,} links, {figures.positives:,} abusive; AUC {shown(figures.auc)}, recall "
        f"{shown(figures.recall_at_1pct_fpr)} at 1 % and {shown(figures.recall_at_01pct_fpr)} at 0.1 % false positives"
    )
