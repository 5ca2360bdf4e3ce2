"""The output of commands: the result on stdout and sentences for people on stderr; with `-o json` JSON alone on stdout.

Every line passes `terminal_safe`, so that no account id, pause text or server's answer can steer the terminal.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import textwrap
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, TextIO

import typer

from gate.core.terminal import json_safe, terminal_safe
from gate.errors import AwaitsApproval, FileInvalid, LocalServerError, PolicyInvalid, UploadGateError

CANCELLED = 2


class Output(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


OutputFlag = Annotated[
    Output,
    typer.Option("--output", "-o", help="How the result is printed; `json` prints JSON and nothing else on stdout."),
]


def say(*lines: str) -> None:
    """Print lines for people, on stderr."""
    _print(lines, sys.stderr)


def say_error(error: UploadGateError) -> None:
    """Print an error on stderr, and what waits for a second person without the word error.

    A server's log and the complaints about a file are several lines; any other message stays on one.
    """
    lead = "" if isinstance(error, AwaitsApproval) else "error: "
    several = isinstance(error, FileInvalid | LocalServerError | PolicyInvalid)
    say(*f"{lead}{error}".split("\n")) if several else say(f"{lead}{error}")


def result(*lines: str, wraps: bool = True) -> None:
    """Print the result of a command, on stdout, line by line. Lines to copy must not be wrapped."""
    _print(lines, sys.stdout, wraps)


def emit(value: object) -> None:
    """Print `value` as JSON on stdout."""
    _written(sys.stdout, json_safe(json.dumps(value, ensure_ascii=False, indent=2)))


def is_asked(yes: bool) -> bool:
    """Whether someone at a terminal can be asked, and has not said `--yes`."""
    return not yes and sys.stdin is not None and sys.stdin.isatty()


def confirmed(question: str) -> bool:
    """Ask on stderr, and return True only for a typed yes. The end of input and Ctrl-C count as no."""
    return _answer(f"{question} [y/N]") in ("y", "yes")


def typed(question: str, expected: str) -> bool:
    """Ask on stderr, and return True only if `expected` is typed in full, in either case."""
    return _answer(question) == expected.lower()


def _answer(question: str) -> str:
    """What is typed, in lower case; empty at the end of input and for Ctrl-C."""
    _written(sys.stderr, f"{terminal_safe(question)} ", end="")
    try:
        answer = sys.stdin.readline() if sys.stdin is not None else ""
    except KeyboardInterrupt:
        answer = ""
    if not answer.endswith("\n"):
        say("")
    return answer.strip().lower()


def cancel() -> typer.Exit:
    """Print that nothing was changed, and return the exit to raise."""
    say("cancelled; nothing was changed")
    return typer.Exit(CANCELLED)


def counted(count: int, noun: str) -> str:
    """`1 record`, `2 records`: for nouns that take an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def instant(us: int) -> str:
    """A time in µs since 1970 as RFC 3339 in UTC."""
    return datetime.fromtimestamp(us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wrapped(line: str, width: int) -> list[str]:
    """A line as those that fit into `width`, broken between words; what is longer than a line stays whole."""
    if len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(line, width, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False)


class LostStream(io.TextIOBase):
    """Takes the place of a stream that nobody reads any more, so that a change goes on and its exit code tells how it ended.

    `error` is why it was lost.
    """

    def __init__(self, error: OSError) -> None:
        self.error = error

    def write(self, text: str, /) -> int:
        """Drops it."""
        return len(text)


def stdout_lost() -> OSError | None:
    """Why nobody reads stdout any more; None as long as it is written."""
    return sys.stdout.error if isinstance(sys.stdout, LostStream) else None


def _written(stream: TextIO | None, text: str, end: str = "\n") -> None:
    """Write to `stream`, which is None if it was closed before the start. A stream that fails is not written again."""
    if stream is None:
        return
    try:
        print(text, end=end, file=stream, flush=True)
    except OSError as error:
        lost = LostStream(error)
        with suppress(OSError):  # what is left in its buffer would raise again at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stdout:
            sys.stdout = lost
        elif stream is sys.stderr:
            sys.stderr = lost


def _print(lines: tuple[str, ...], stream: TextIO | None, wraps: bool = True) -> None:
    is_terminal = wraps and stream is not None and stream.isatty()
    for line in map(terminal_safe, lines):
        shown = wrapped(line, shutil.get_terminal_size().columns) if is_terminal else [line]
        _written(stream, "\n".join(shown))
