"""`upload-gate scorecard check`: checks a scorecard file and shows what its families may say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gate.cli.output import Output, OutputFlag, counted, emit, result, say
from gate.errors import PolicyInvalid
from gate.policyfile.other_file import other_file

if TYPE_CHECKING:
    from streams.core.scorecard import Scorecard

scorecard = typer.Typer(
    help="Check scorecard files.",
    epilog="Example: upload-gate scorecard check scorecard.toml",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SMALL: Final = 0.01


@scorecard.callback()
def _scorecard() -> None:
    """A group, so that `scorecard check` is a command of its own."""


@scorecard.command(name="check")
def check(
    file: Annotated[Path, typer.Argument(help="Scorecard file (TOML).", metavar="FILE", show_default=False)],
    output: OutputFlag = Output.TEXT,
) -> None:
    """Check a scorecard file: its keys, and that the points of each term have the sign and direction that it states.

    Each complaint names file, line, term and key. The exit code is 2 if there is a complaint.

    Example: upload-gate scorecard check scorecard.toml
    """
    from streams.files.scorecards import check_scorecard, read_scorecard_text

    text = read_scorecard_text(file)
    if (other := other_file(text, "scorecard")) is not None:
        raise PolicyInvalid(str(file), None, "", other)
    card, complaints = check_scorecard(text, str(file))
    if output is Output.JSON:
        emit({
            "file": str(file),
            "valid": card is not None,
            "hash": None if card is None else card.hash,
            "terms": None if card is None else len(card.terms),
            "base_risk": None if card is None else round(card.base, 6),
            "families": None if card is None else families_json(card),
            "complaints": [{"line": c.line, "key": c.key, "problem": str(c)} for c in complaints],
        })  # fmt: skip
    elif card is not None:
        result(*check_lines(file, card))
    for complaint in complaints:
        say(str(complaint))
    if card is None:
        raise typer.Exit(PolicyInvalid.exit_code)


def families_json(card: Scorecard) -> dict[str, dict[str, float]]:
    """For each family: how many terms it has, what it adds at most in log odds, and the risk to which that leads alone."""
    from streams.core.scorecard import log_odds_of, probability

    from_ = max(card.start, log_odds_of(card.base_rate))
    found: dict[str, dict[str, float]] = {}
    for family in card.caps:
        terms = [term for term in card.terms if term.family == family]
        most = min(card.most_alone(family), card.scale.point * sum(max(0, *term.points) for term in terms))
        found[family] = {
            "terms": len(terms),
            "adds_at_most": round(most, 4),
            "risk_alone": round(probability(from_ + most), 6),
        }
    return found


def check_lines(file: Path, card: Scorecard) -> list[str]:
    """A valid scorecard as lines for people."""
    lines = [
        f"{file} is valid, scorecard {card.hash}: {len(card.terms)} terms, risk {_shown(card.base)} without evidence"
    ]
    for family, found in families_json(card).items():
        lines.append(
            f"  {family:<10} {counted(int(found['terms']), 'term'):<9} adds {found['adds_at_most']:.2f} at most, which alone "
            f"leads to a risk of {_shown(found['risk_alone'])}"
        )
    return lines


def _shown(risk: float) -> str:
    """A risk with three digits after the point, a small one with two digits that are not 0."""
    return f"{risk:.3f}" if risk >= SMALL else f"{risk:.2g}"
