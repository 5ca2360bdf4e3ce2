"""What a command prints: its result on stdout, words for people on stderr, JSON alone where JSON is asked for."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer


class Output(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


OutputFlag = Annotated[Output, typer.Option("--output", "-o", help="`json`: JSON and nothing else on stdout.")]


def say(line: str) -> None:
    """One line for people, on stderr."""
    print(line, file=sys.stderr, flush=True)


def result(text: str) -> None:
    """What was asked for, on stdout."""
    print(text, flush=True)


def emit(value: object) -> None:
    """`value` as JSON on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2), flush=True)


def confirmed(question: str) -> bool:
    """Ask on stderr; only a typed yes counts. No input to read from counts as no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer.endswith("\n"):
        say("")
    return answer.strip().lower() in ("y", "yes")


def instant(us: int) -> str:
    """A time in µs since 1970 as RFC 3339 in UTC."""
    return datetime.fromtimestamp(us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
