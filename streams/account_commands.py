"""The commands that fit a scorecard to labelled accounts, and judge one: their options and their output."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.errors import OperatorError, SettingInvalid
from streams.model_options import FilesArgument, SeedOption, WithoutOption, progress_bar, require_fit

if TYPE_CHECKING:
    from streams.lab.detection_figures import DetectionFigures
    from streams.lab.evaluate_accounts import AccountFigures, Ranking
    from streams.lab.fit_accounts import AccountFit, Captions, LabelledStreams

SCORECARD: Final = "scorecard.toml"
ABOUT: Final = "accounts.json"


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
    without: WithoutOption = None,
    labels: Annotated[
        str, typer.Option(help="For events only: the facts of accounts hold no labels, so this changes nothing.")
    ] = "none",
    output: OutputFlag = Output.TEXT,
) -> None:
    """Fit a scorecard to labelled accounts and write it to a directory, with the caption model it was fitted with.

    Example: upload-gate fit accounts labelled.jsonl.gz --captions models --out models
    """
    require_fit(("sklearn", "interpret"))
    from streams.core.models.alphabet import build_alphabet
    from streams.lab.fit_accounts import fit_accounts as fit
    from streams.lab.fit_accounts import read_streams

    source = _captions_directory(captions, out)
    model = _captions(source)
    streams = read_streams(files)
    for note in streams.notes:
        say(note)
    made = fit(streams, model, build_alphabet(), seed, base_rate, without or (), progress_bar)
    _write(made, streams, seed, source, out)
    if output is Output.JSON:
        emit(_fit_json(made, streams, out))
        return
    result(f"wrote the scorecard {made.scorecard.hash} to {out / SCORECARD}")
    for line in _fit_lines(made):
        say(line)


def _captions_directory(given: Path | None, out: Path) -> Path | None:
    """The directory of the caption model to read with; None for the shipped one."""
    if given is not None:
        return given
    return out if (out / "captions.npz").exists() else None


def _captions(directory: Path | None) -> Captions:
    from streams.files.models import read_model, read_sketch, shipped_models
    from streams.lab.fit_accounts import Captions

    directory = directory or shipped_models()
    if directory is None:
        say("there is no caption model; accounts are fitted without the log odds of their captions")
        return Captions(None)
    return Captions(read_model(directory), read_sketch(directory))


def _write(made: AccountFit, streams: LabelledStreams, seed: int, captions: Path | None, out: Path) -> None:
    """Write the scorecard, its provenance and figures, and a copy of the caption model."""
    import json

    from streams.files.models import shipped_models
    from streams.files.scorecard_text import scorecard_text

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
        (out / SCORECARD).write_text(scorecard_text(made.scorecard, _provenance(made, streams, seed)))
        (out / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        source = captions or shipped_models()
        if source is not None and source.resolve() != out.resolve():
            for name in ("captions.npz", "captions.json"):
                shutil.copyfile(source / name, out / name)
    except OSError as error:
        raise SettingInvalid(f"--out {out} cannot be written: {error.strerror}") from None


def _provenance(made: AccountFit, streams: LabelledStreams, seed: int) -> list[str]:
    files = ", ".join(f"{name} ({count:,} rows)" for name, count in streams.rows.items())
    return [
        f"Scorecard {made.scorecard.hash}, fitted by `upload-gate fit accounts` with the seed {seed}.",
        f"Fitted to {made.accounts:,} accounts ({made.positives:,} abusive) in {made.families:,} families: {files}.",
        *_fit_lines(made),
    ]


def _fit_lines(made: AccountFit) -> list[str]:
    lines = [
        _figures_line("judged by folds that split no family", made.grouped),
        _figures_line("judged by a random split of accounts, which is too optimistic", made.random),
    ]
    if made.later is not None:
        lines.append(_figures_line("judged on the 30 % of accounts that began last", made.later))
    return [*lines, _generalises(made), *made.notes]


def _generalises(made: AccountFit) -> str:
    """How far the figures hold for families that were not fitted to."""
    grouped, random = made.grouped.recall_at_1pct_fpr, made.random.recall_at_1pct_fpr
    if grouped is None or random is None:
        return "how far this holds for new families is unknown"
    lost = max(0.0, random - grouped)
    return (
        f"new families are caught {lost * 100:.0f} points of recall worse than families that were fitted to; "
        "platforms of another kind need labels of their own"
    )


def _fit_json(made: AccountFit, streams: LabelledStreams, out: Path) -> dict[str, object]:
    later = {} if made.later is None else {f"later_{key}": value for key, value in asdict(made.later).items()}
    return {
        "model": "accounts",
        "hash": made.scorecard.hash,
        "directory": str(out),
        "files": streams.rows,
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
        f"{title}: {figures.rows:,} accounts, {figures.positives:,} abusive; AUC {_shown(figures.auc)}, recall "
        f"{_shown(figures.recall_at_1pct_fpr)} at 1 % false positives, calibration error {_shown(figures.ece)}"
    )


def evaluate_accounts(
    files: Sequence[Path],
    models: Path | None,
    after: str,
    without: Sequence[str],
    plots: Path | None,
    output: Output,
) -> None:
    """Judge the scorecard in `models`, the shipped one for None, on the accounts of `files`, and print the figures."""
    from streams.core.models.alphabet import build_alphabet
    from streams.core.models.marks import CaptionReader
    from streams.files.scorecards import load_scorecard
    from streams.lab.evaluate_accounts import evaluate_accounts as judge
    from streams.lab.fit_accounts import read_streams

    counts = _counts(after)
    card = load_scorecard(_scorecard_file(models))
    reader = CaptionReader(build_alphabet(), _captions(models).model)
    streams = read_streams(files)
    for note in streams.notes:
        say(note)
    figures = judge(streams.uploads, card, reader, counts, without)
    if plots is not None:
        from streams.lab.plots import draw_accounts

        for file in draw_accounts(figures, plots):
            say(f"wrote {file}")
    if output is Output.JSON:
        emit({**figures.as_json(), "scorecard": card.hash, "synthetic_times": streams.synthetic_times})
    else:
        result(*_evaluation_lines(figures, card.hash))


def _scorecard_file(models: Path | None) -> Path | None:
    """The scorecard in the directory; None for the shipped one."""
    if models is None:
        return None
    if not (models / SCORECARD).exists() and models.is_dir():
        say(f"{models} has no scorecard; the shipped one is judged")
        return None
    return models / SCORECARD


def _counts(after: str) -> tuple[int, ...]:
    try:
        counts = tuple(sorted({int(part) for part in after.split(",") if part.strip()}))
    except ValueError:
        counts = ()
    if not counts or counts[0] < 1:
        raise OperatorError(f"--after {after} is no list of numbers of events", "give numbers such as 5,20,100")
    return counts


def _evaluation_lines(figures: AccountFigures, hash_: str) -> list[str]:
    lines = [
        f"accounts judged by the scorecard {hash_}: {figures.accounts:,}, {figures.positives:,} abusive",
        f"last risk: {_ranking(figures.last)}",
        *(f"after {count} events ({one.accounts:,} accounts): {_ranking(one)}" for count, one in figures.after.items()),
    ]
    for name, shares in (("benign", figures.benign_at_least), ("abusive", figures.abusive_at_least)):
        said = ", ".join(f"{bound:g}: {_shown(share)}" for bound, share in shares.items())
        lines.append(f"share of {name} accounts at a risk of at least {said}")
    lines.append(
        f"calibration error {_shown(figures.ece)}; state {figures.state_bytes[0]:,} bytes (median), "
        f"{figures.state_bytes[1]:,} (most); {figures.us_per_event:.1f} µs of CPU an event"
    )
    for name, moved in figures.families.items():
        lines.append(f"{name:<10} moves {moved.useful:6.1%} of accounts toward their label, {moved.harmful:6.1%} away")
    return lines


def _ranking(one: Ranking) -> str:
    return (
        f"AUC {_shown(one.auc)}, recall {_shown(one.recall_at_1pct_fpr)} at 1 % and "
        f"{_shown(one.recall_at_half_pct_fpr)} at 0.5 % false positives"
    )


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
