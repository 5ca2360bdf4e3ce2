"""The command `fit accounts`: fits a scorecard to labelled accounts, and the cards of events if rows have a kind or an amount."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.errors import SettingInvalid
from streams.cli.models.accounts import SCORECARD, shown
from streams.cli.models.events import LabelsOption, write_cards
from streams.cli.models.feature_models import FeatureModels, feature_models
from streams.cli.models.options import FilesArgument, SeedOption, WithoutOption, require_fit, shown_progress

if TYPE_CHECKING:
    from streams.lab.detection_figures import DetectionFigures
    from streams.lab.events import EventStream
    from streams.lab.fit_accounts import AccountFit, LabelledStreams
    from streams.lab.fit_texts import TooFewLabels

ABOUT: Final = "accounts.json"
ACCOUNTS_PART: Final = 0.5
"""The part of the progress bar that accounts take where events are fitted too."""


def fit_accounts(
    files: FilesArgument,
    out: Annotated[Path, typer.Option("--out", help="Directory for the scorecard; created if it is missing.")],
    seed: SeedOption = 1,
    base_rate: Annotated[
        float, typer.Option(min=0.0001, max=0.4, help="Share of abusive accounts on the platform.")
    ] = 0.02,
    captions: Annotated[
        Path | None,
        typer.Option(help="Directory of a caption model; the one in --out otherwise, else the shipped one."),
    ] = None,
    links: Annotated[
        Path | None,
        typer.Option(help="Directory of a link model and a name model; those in --captions or --out otherwise."),
    ] = None,
    without: WithoutOption = None,
    labels: LabelsOption = "none",
    output: OutputFlag = Output.TEXT,
) -> None:
    """Fit a scorecard to labelled accounts and write it to a directory, with the models it was fitted with.

    Where labelled rows have a kind or an amount, the cards of single events are fitted too, as `fit events` does.

    Example: upload-gate fit accounts labelled.jsonl.gz --captions models --out models
    """
    require_fit(("sklearn", "interpret"))
    from streams.lab.events import read_events_of_kinds
    from streams.lab.fit_accounts import read_streams
    from streams.lab.fit_texts import TooFewLabels

    events = read_events_of_kinds(files, labels)
    of_accounts, of_events = _left_out(without or (), events is not None)
    streams = read_streams(files)
    for note in streams.notes:
        say(note)
    models = feature_models(captions, links, out)
    left_out = (*of_accounts, *models.left_out(streams.rows))
    part = 1.0 if events is None else ACCOUNTS_PART
    accounts: AccountFit | TooFewLabels
    with shown_progress() as progress:
        try:
            accounts = _fit(
                streams, models, seed, base_rate, left_out, lambda share, what: progress(share * part, what)
            )
            _write(accounts, streams, seed, models, out)
        except TooFewLabels as error:
            if events is None:
                raise
            accounts = error
        figures = {} if events is None else _fit_events(events, out, seed, labels, of_events, accounts, progress)
    _print_fit(accounts, figures, streams, models, out, output)


def _left_out(names: Sequence[str], with_events: bool) -> tuple[list[str], list[str]]:
    """The names of --without for accounts, and those for events. A name that neither knows is refused by accounts."""
    from streams.core.features import FAMILIES, PLACE
    from streams.lab.events import counter_names

    of_events = [name for name in names if with_events and name in counter_names()]
    known = {*FAMILIES, *PLACE}
    return [name for name in names if name in known or name not in of_events], of_events


def _fit(
    streams: LabelledStreams,
    models: FeatureModels,
    seed: int,
    base_rate: float,
    left_out: Sequence[str],
    progress: Callable[[float, str], None],
) -> AccountFit:
    from streams.core.models.alphabet import build_alphabet
    from streams.lab.fit_accounts import fit_accounts as fit

    return fit(
        streams, models.captions, build_alphabet(), seed, base_rate, left_out, progress, models.links, models.names
    )


def _fit_events(
    events: EventStream,
    out: Path,
    seed: int,
    labels: str,
    left_out: Sequence[str],
    accounts: AccountFit | TooFewLabels,
    progress: Callable[[float, str], None],
) -> dict[str, object]:
    """Fit and write the cards of events, and return their figures; raises what accounts lack if events lack it too."""
    from streams.lab.fit_texts import TooFewLabels

    try:
        figures, hash_, _ = write_cards(
            events, out, seed, labels, left_out,
            lambda share, what: progress(ACCOUNTS_PART + (1.0 - ACCOUNTS_PART) * share, what),
        )  # fmt: skip
    except TooFewLabels as error:
        if isinstance(accounts, TooFewLabels):
            raise accounts from None
        return {"not_fitted": str(error)}
    return {"hash": hash_, "labels": labels, **figures}


def _write(made: AccountFit, streams: LabelledStreams, seed: int, models: FeatureModels, out: Path) -> None:
    """Write the scorecard, its provenance and figures, and copies of the models it was fitted with."""
    import json

    from streams.files.scorecard_text import scorecard_text
    from streams.files.whole_files import write_whole

    figures = {"grouped": asdict(made.grouped), "random": asdict(made.random)}
    if made.later is not None:
        figures["later"] = asdict(made.later)
    about = {
        "version": 1,
        "model": "accounts",
        "hash": made.scorecard.hash,
        "files": streams.rows,
        "seed": seed,
        "accounts": made.accounts,
        "positives": made.positives,
        "families": made.families,
        "captions_of_other_families": made.cross_fitted,
        "figures": figures,
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        models.copy_to(out)
        text = scorecard_text(made.scorecard, _provenance(made, streams, seed))
        write_whole(out, {SCORECARD: text.encode(), ABOUT: f"{json.dumps(about, indent=1)}\n".encode()})
    except OSError as error:
        raise SettingInvalid(f"--out {out} cannot be written: {error.strerror}") from None


def _provenance(made: AccountFit, streams: LabelledStreams, seed: int) -> list[str]:
    files = ", ".join(f"{name} ({count:,} rows)" for name, count in streams.rows.items())
    return [
        f"Scorecard {made.scorecard.hash}, fitted by `upload-gate fit accounts` with the seed {seed}.",
        f"Fitted to {made.accounts:,} accounts ({made.positives:,} abusive) in {made.families:,} groups: {files}.",
        *_fit_lines(made),
    ]


def _fit_lines(made: AccountFit) -> list[str]:
    whole = "account" if made.notes else "group of accounts"
    lines = [
        *made.notes,
        _figures_line(f"judged by folds that split no {whole}", made.grouped),
        _figures_line("judged by a random split of accounts, which is too optimistic", made.random),
    ]
    if made.later is not None:
        lines.append(_figures_line("judged on the 30 % of accounts that began last", made.later))
    return [*lines, _generalises(made)]


def _generalises(made: AccountFit) -> str:
    """How far the figures hold for families that were not fitted to."""
    grouped, random = made.grouped.recall_at_1pct_fpr, made.random.recall_at_1pct_fpr
    if grouped is None or random is None or made.notes:
        return "how far this holds for accounts of new groups is unknown"
    lost = max(0.0, random - grouped)
    return (
        f"accounts of new groups are caught {lost * 100:.0f} points of recall worse than those of groups that were fitted to; "
        "platforms of another kind need labels of their own"
    )


def _print_fit(
    accounts: AccountFit | TooFewLabels,
    events: dict[str, object],
    streams: LabelledStreams,
    models: FeatureModels,
    out: Path,
    output: Output,
) -> None:
    """Print what was fitted, and what was not and why."""
    said: dict[str, object] = {"model": "accounts", "directory": str(out), "files": streams.rows}
    lines: list[str] = []
    if isinstance(accounts, Exception):
        said["not_fitted"] = str(accounts)
        say(f"the accounts were not fitted: {accounts}")
    else:
        said |= _fit_json(accounts, models)
        lines.append(f"wrote the scorecard {accounts.scorecard.hash} to {out / SCORECARD}")
    if events:
        said["events"] = events
        if "not_fitted" in events:
            say(f"the events were not fitted: {events['not_fitted']}")
        else:
            lines.append(f"wrote the cards of events to {out}; AUC on later events {events.get('auc', 0.0):.3f}")
    if output is Output.JSON:
        emit(said)
        return
    result(*lines)
    if not isinstance(accounts, Exception):
        say(*_fit_lines(accounts))


def _fit_json(made: AccountFit, models: FeatureModels) -> dict[str, object]:
    later = {} if made.later is None else {f"later_{key}": value for key, value in asdict(made.later).items()}
    return {
        "hash": made.scorecard.hash,
        "link_model": None if models.links is None else models.links.model.hash,
        "name_model": None if models.names is None else models.names.hash,
        "accounts": made.accounts,
        "positives": made.positives,
        "families": made.families,
        "terms": len(made.scorecard.terms),
        **asdict(made.grouped),
        **{f"random_split_{key}": value for key, value in asdict(made.random).items()},
        **later,
    }


def _figures_line(title: str, figures: DetectionFigures) -> str:
    return (
        f"{title}: {figures.rows:,} accounts, {figures.positives:,} abusive; AUC {shown(figures.auc)}, recall "
        f"{shown(figures.recall_at_1pct_fpr)} at 1 % false positives, calibration error {shown(figures.ece)}"
    )
