"""Options, requirements and the progress that the commands of models share."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
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
LINE_EVERY_S: Final = 10.0
LIBRARIES: Final = {"sklearn": "scikit-learn", "interpret": "interpret-core", "matplotlib": "matplotlib"}


def require_fit(modules: Sequence[str] = ("sklearn",)) -> None:
    """Raises OperatorError if a library of the extra `fit` is not installed."""
    missing = [LIBRARIES[module] for module in modules if find_spec(module) is None]
    if missing:
        raise OperatorError(
            f"fitting needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            install_extra("fit"),
        )


@contextmanager
def shown_progress() -> Iterator[Callable[[float, str], None]]:
    """Show on stderr how much is done. Yields the function that reports progress: a share in [0, 1], and the step's name.

    A terminal shows a bar. Any other stderr, such as a job's log, gets a line every LINE_EVERY_S seconds, even within one long
    step, so that a reader can tell a slow fit from one that hangs.
    """
    if sys.stderr.isatty():
        yield _draw_bar
        return
    told, ended = [(0.0, "read")], Event()

    def tell(share: float, what: str) -> None:
        told[0] = share, what

    def lines() -> None:
        began = time.monotonic()
        while not ended.wait(LINE_EVERY_S):
            share, what = told[0]
            print(f"{share:.0%} done after {time.monotonic() - began:.0f} s: {what}", file=sys.stderr, flush=True)

    printing = Thread(target=lines, name="progress", daemon=True)
    printing.start()
    try:
        yield tell
    finally:
        ended.set()
        printing.join()


def _draw_bar(share: float, what: str) -> None:
    done = round(BAR * share)
    print(f"\r[{'█' * done}{' ' * (BAR - done)}] {share:4.0%} {what:<12}", end="", file=sys.stderr, flush=True)
    if share >= 1.0:
        print(file=sys.stderr)
