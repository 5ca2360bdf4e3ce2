"""Options, requirements and the progress bar that the commands of models share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from gate.errors import OperatorError
from gate.extras import install_extra

FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        help="Labelled streams, *.jsonl or *.jsonl.gz; config/README.md shows a row.",
        show_default=False,
        metavar="FILE...",
    ),
]
SeedOption = Annotated[int, typer.Option(help="The same rows and the same seed give the same model.")]
WithoutOption = Annotated[
    list[str] | None,
    typer.Option(help="Leave out a feature or a family of features; may be given several times.", metavar="NAME"),
]
BAR: Final = 30
LIBRARIES: Final = {"sklearn": "scikit-learn", "interpret": "interpret-core", "matplotlib": "matplotlib"}


def require_fit(modules: Sequence[str] = ("sklearn",)) -> None:
    """Raises OperatorError if a library of the extra `fit` is not installed."""
    missing = [LIBRARIES[module] for module in modules if find_spec(module) is None]
    if missing:
        raise OperatorError(
            f"fitting needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            install_extra("fit"),
        )


def progress_bar(share: float, what: str) -> None:
    """Show on a terminal how much is done, a share in [0, 1]."""
    if not sys.stderr.isatty():
        return
    done = round(BAR * share)
    print(f"\r[{'█' * done}{' ' * (BAR - done)}] {share:4.0%} {what:<12}", end="", file=sys.stderr, flush=True)
    if share >= 1.0:
        print(file=sys.stderr)
