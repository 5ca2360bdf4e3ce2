"""`evaluate --what accounts`: judges a scorecard on labelled accounts, and prints the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gate.cli.output import Output, counted, emit, result, say
from gate.errors import OperatorError

if TYPE_CHECKING:
    from streams.lab.evaluate_accounts import AccountFigures, Ranking
    from streams.lab.shadow_figures import ShadowFigures

SCORECARD: Final = "scorecard.toml"


def evaluate_accounts(
    files: Sequence[Path],
    models: Path | None,
    after: str,
    without: Sequence[str],
    plots: Path | None,
    output: Output,
    shadow: Path | None = None,
) -> None:
    """Judge the scorecard in `models`, the shipped one for None, on the accounts of `files`, and print the figures.

    The scorecard in `shadow` judges the same features beside it, as in a worker.
    """
    from streams.core.models.alphabet import build_alphabet
    from streams.files.model_directory import load_models
    from streams.files.public_suffixes import load_web_links
    from streams.lab.evaluate_accounts import evaluate_accounts as judge
    from streams.lab.fit_accounts import read_streams

    counts = _counts(after)
    if models is not None and models.is_dir() and not (models / SCORECARD).exists():
        say(f"{models} has no scorecard; the shipped one is judged")
    found, alphabet = load_models(models), build_alphabet()
    card = found.scorecard
    reader, links = found.caption_reader(alphabet), found.link_reader(alphabet, load_web_links())
    streams = read_streams(files)
    for note in streams.notes:
        say(note)
    beside = None if shadow is None else load_models(shadow).scorecard
    figures = judge(streams.uploads, card, reader, counts, without, links, beside, found.names)
    if plots is not None:
        from streams.lab.plots import draw_accounts

        for file in draw_accounts(figures, plots):
            say(f"wrote {file}")
    if output is Output.JSON:
        emit({**figures.as_json(), "scorecard": card.hash, "synthetic_times": streams.synthetic_times})
    else:
        result(*_evaluation_lines(figures, card.hash))


def _counts(after: str) -> tuple[int, ...]:
    try:
        counts = tuple(sorted({int(part) for part in after.split(",") if part.strip()}))
    except ValueError:
        counts = ()
    if not counts or counts[0] < 1:
        raise OperatorError(f"--after {after} is not a list of numbers of events", "give numbers such as 5,20,100")
    return counts


def _evaluation_lines(figures: AccountFigures, hash_: str) -> list[str]:
    lines = [
        f"judged by the scorecard {hash_}: {figures.accounts:,} accounts, {figures.positives:,} abusive",
        f"last risk: {_ranking(figures.last)}",
        *(f"after {count} events: {of_accounts(one)}" for count, one in figures.after.items()),
    ]
    for name, shares in (("honest", figures.benign_at_least), ("abusive", figures.abusive_at_least)):
        said = ", ".join(f"{bound:g}: {shown(share)}" for bound, share in shares.items())
        lines.append(f"share of {name} accounts at a risk of at least {said}")
    lines.append(
        f"calibration error {shown(figures.ece)}; state {figures.state_bytes[0]:,} bytes (median), "
        f"{figures.state_bytes[1]:,} (most); {figures.us_per_event:.1f} µs of CPU an event"
    )
    if figures.shadow is not None:
        lines += shadow_lines(figures.shadow)
    for name, moved in figures.families.items():
        lines.append(f"{name:<10} moves {moved.useful:6.1%} of accounts toward their label, {moved.harmful:6.1%} away")
    return lines


def shadow_lines(shadow: ShadowFigures) -> list[str]:
    lines = [
        f"in shadow, the scorecard {shadow.hash} on the same features: AUC {shown(shadow.auc)}, recall "
        f"{shown(shadow.recall_at_1pct_fpr)} at 1 % false positives; risks are {shadow.mean_apart:.3f} apart on average",
        "share of accounts whose two risks are apart by at most "
        + ", ".join(f"{bound}: {share:.3f}" for bound, share in _up_to(shadow.apart)),
    ]
    for level, one in shadow.disagreements.items():
        lines.append(
            f"to a risk of {level:g} the scorecard alone lifts {one.abusive_live:,} abusive and {one.benign_live:,} honest "
            f"accounts, the one in shadow alone {one.abusive_shadow:,} and {one.benign_shadow:,}"
        )
    return lines


def _up_to(bands: Mapping[str, float]) -> list[tuple[str, float]]:
    """The share up to each bound, of shares that begin where the one before ends."""
    return list(zip(bands, accumulate(bands.values()), strict=True))


def of_accounts(one: Ranking) -> str:
    """How the accounts that have so many events are ranked; nothing can be ranked where they have one label."""
    if not one.accounts:
        return "no account has so many"
    accounts = counted(one.accounts, "account")
    return f"{accounts}, all of one label" if one.auc is None else f"{accounts}, {_ranking(one)}"


def _ranking(one: Ranking) -> str:
    return (
        f"AUC {shown(one.auc)}, recall {shown(one.recall_at_1pct_fpr)} at 1 % and "
        f"{shown(one.recall_at_half_pct_fpr)} at 0.5 % false positives"
    )


def shown(value: float | None) -> str:
    """A figure for people."""
    return "unknown" if value is None else f"{value:.3f}"
