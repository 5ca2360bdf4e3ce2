"""Events on the command line: `fit events` and `evaluate --what events`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.output import Output, OutputFlag, emit, result, say
from streams.cli.models.figures import flat, shown
from streams.cli.models.options import SeedOption, require_fit, shown_progress

if TYPE_CHECKING:
    from streams.core.counters import Kept
    from streams.files.event_cards import EventModel
    from streams.lab.events import EventStream
    from streams.lab.fit_events import EventFit

EventFiles = Annotated[
    list[Path],
    typer.Argument(help="Labelled streams of events, *.jsonl or *.jsonl.gz.", show_default=False, metavar="FILE..."),
]
LabelsOption = Annotated[
    str,
    typer.Option(
        help="events: when labels reach the counters: none, immediate, or a delay (7d, or a number of events)."
    ),
]
WithoutCounters = Annotated[
    list[str] | None, typer.Option(help="Leave out a counter or a family; may be given several times.", metavar="NAME")
]


def fit_events(
    files: EventFiles,
    out: Annotated[Path, typer.Option("--out", help="Directory for the model; created if it is missing.")],
    seed: SeedOption = 1,
    labels: LabelsOption = "none",
    without: WithoutCounters = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Fit cards that judge each event by what its source, target, place and kind did before.

    One card judges without labels. The other one uses labels, which reach the counters as --labels says (at once for
    none). The figures are those of the card that --labels selects.

    Example: upload-gate fit events transactions.jsonl.gz --labels immediate --out models
    """
    require_fit()
    from streams.lab.events import read_events

    with shown_progress() as progress:
        stream = read_events(files)
        say(*stream.notes)
        figures, model_hash, rows = write_cards(stream, out, seed, labels, without or (), progress)
    if output is Output.JSON:
        emit({"model": "events", "hash": model_hash, "directory": str(out), "files": rows, **figures})
        return
    result(f"wrote the card of events {model_hash} to {out}")
    say(f"fitted to the earlier events and judged on the later: AUC {figures.get('auc', 0.0):.3f}")
    say(f"judged by a random split, which is too optimistic: AUC {figures.get('random_split_auc', 0.0):.3f}")


def write_cards(
    stream: EventStream,
    out: Path,
    seed: int,
    labels: str,
    without: Sequence[str],
    progress: Callable[[float, str], None],
) -> tuple[dict[str, float], str, dict[str, int]]:
    """Fit the cards of events and write them; the figures and the hash of the card for `labels`, and the rows by file.

    There is always a card for judging without labels and one with them; the latter is for labels that come at once where
    `labels` is none.
    """
    from streams.files.event_cards import EventModel, write_event_model
    from streams.files.models import Provenance
    from streams.lab.events import Labels, judge_events
    from streams.lab.fit_events import fit_events as fit_card

    delay = Labels.IMMEDIATE if labels == Labels.NONE else labels
    judged = judge_events(stream, delay, progress=lambda share: progress(0.2 * share, "counted"))
    plain = fit_card(judged, seed, (*without, "labels"), lambda share, what: progress(0.2 + 0.3 * share, what))
    labelled = fit_card(judged, seed, without, lambda share, what: progress(0.5 + 0.5 * share, what))
    model = EventModel(plain.card, labelled.card, judged.kept, stream.times[-1], stream.by_time, delay)
    about = _figures(plain) | {f"with_labels_{name}": value for name, value in _figures(labelled).items()}
    write_event_model(model, Provenance(stream.rows, seed, about), out)
    return _figures(plain if labels == Labels.NONE else labelled), model.card(labels).hash, stream.rows


def _figures(fit: EventFit) -> dict[str, float]:
    return flat(fit.later) | flat(fit.random, "random_split_")


def _kept_before(stream: EventStream, model: EventModel) -> Kept | None:
    """The counters of the fit, if the stream continues that of the fit; else empty counters."""
    if stream.by_time == model.by_time and stream.times[0] >= model.until:
        return model.kept
    why = "they begin before the last event of the fit"
    if stream.by_time != model.by_time:
        why = "they have times and those of the fit have none" if stream.by_time else "only those of the fit have times"
    say(f"the counters begin empty, as the rows do not follow those of the fit: {why}")
    return None


def evaluate_events(
    files: Sequence[Path],
    models: Path | None,
    labels: str,
    without: Sequence[str],
    output: Output,
) -> None:
    """Judge each event as it comes. Where `models` holds no card, one is fitted to the earlier events for the later."""
    from streams.files.event_cards import read_event_model
    from streams.lab.detection_figures import detection_figures
    from streams.lab.events import judge_events, left_of, read_events
    from streams.lab.fit_events import judge_later

    if models is None or not (models / "events.json").exists():
        require_fit()
        stream = read_events(files)
        card, figures = judge_later(judge_events(stream, labels), 1, without)
        say("there is no card of events: one is fitted to the earlier 70 % of the events, and judged on the later 30 %")
    else:
        model = read_event_model(models)
        card = left_of(model.card(labels), without)
        stream = read_events(files, 0.0 if model.by_time else model.until)
        judged = judge_events(stream, labels, _kept_before(stream, model))
        figures = detection_figures(judged.labels, card.log_odds(judged.matrix, judged.names))
    say(*stream.notes)
    said = {
        "events": figures.rows,
        "positives": figures.positives,
        "auc": figures.auc,
        "recall_at_1pct_fpr": figures.recall_at_1pct_fpr,
    }
    if output is Output.JSON:
        emit({**said, "model": card.hash})
    else:
        result(
            ", ".join(
                f"{name} {value:,}" if isinstance(value, int) else f"{name} {shown(value)}"
                for name, value in said.items()
            )
        )
