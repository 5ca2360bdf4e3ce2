"""`upload-gate events check`: shows how the gate or the stream worker reads each line of a file; neither has to run.

It calls the same functions as the gate and the worker, and prints their results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer

from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.errors import RequestRejected, SettingInvalid

MAX_LINE_BYTES = 1 << 20
"""A longer line is skipped and reported as too large."""
NOT_ALL_READ = 1


class As(StrEnum):
    """The kind of message that a line is read as."""

    EVENT = "event"
    CHECK = "check"


class Reading(msgspec.Struct, frozen=True):
    """How one line is read. `event` holds the kept fields, `dropped` maps each dropped field to the reason."""

    line: int
    read: bool
    reason: str | None
    detail: str | None
    event: dict[str, Any] | None
    dropped: dict[str, str]
    hosts: tuple[str, ...]


events = typer.Typer(no_args_is_help=True, help="See how events and checks are read.", rich_markup_mode=None)


@events.callback()
def _events() -> None:
    """A group, so that `events check` is a command of its own."""


@events.command(name="check")
def check(
    file: Annotated[str, typer.Argument(help="JSON, one event a line; `-` reads stdin.", show_default=False)],
    as_: Annotated[As, typer.Option("--as", help="What the lines are.")] = As.EVENT,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Show how each line of a file is read: kept fields, dropped fields with the reason, and the hosts it links to.

    Ends with 0 if all lines are read, else 1. Example: upload-gate events check events.jsonl -o json
    """
    readings = list(_readings(file, reader(as_, time.time_ns() // 1000)))
    unread = sum(not reading.read for reading in readings)
    if output is Output.JSON:
        emit(msgspec.to_builtins(readings))
    else:
        for reading in readings:
            result(described(reading))
        dropped = sum(len(reading.dropped) for reading in readings)
        say(f"{len(readings):,} lines: {len(readings) - unread:,} read, {unread:,} not; {dropped:,} fields dropped")
    if unread:
        raise typer.Exit(NOT_ALL_READ)


def described(reading: Reading) -> str:
    """One line for people."""
    if not reading.read:
        return f"{reading.line}: not read: {reading.reason}: {reading.detail}"
    dropped = ", ".join(f"{field} ({reason})" for field, reason in reading.dropped.items())
    hosts = " ".join(reading.hosts)
    return f"{reading.line}: read{f'; dropped {dropped}' if dropped else ''}{f'; hosts {hosts}' if hosts else ''}"


def reader(as_: As, now_us: int) -> Callable[[int, bytes], Reading]:
    """Returns a function that reads a line by its number and bytes. `now_us` is the arrival time of a check."""
    from gate.records.check import decode_check
    from streams.core.events import Unreadable, check_record, decode_counting, time_us
    from streams.files.public_suffixes import load_web_links

    links = load_web_links()

    def kept(line: int, value: Any, dropped: Mapping[str, str]) -> Reading:
        hosts = links.hosts_in(getattr(value, "links", ()), getattr(value, "text", None))
        return Reading(line, True, None, None, msgspec.to_builtins(value), {**dropped}, hosts)

    def read(line: int, data: bytes) -> Reading:
        try:
            if as_ is As.CHECK:
                return kept(line, *decode_check(data, now_us))
            event, _, dropped = decode_counting(data)
            check_record(event, time_us(event), event.account.id.encode(), 0)
            return kept(line, event, dropped)
        except Unreadable as error:
            return Reading(line, False, error.reason, error.detail, None, {}, ())
        except RequestRejected as error:
            where = f"{error.field} {error.problem}" if error.field else error.problem
            return Reading(line, False, error.reason, where, None, {}, ())

    return read


def _readings(file: str, read: Callable[[int, bytes], Reading]) -> Iterator[Reading]:
    try:
        if file == "-":
            for number, line in _lines(sys.stdin.buffer):
                yield read(number, line)
            return
        with Path(file).open("rb") as source:
            for number, line in _lines(source):
                yield read(number, line)
    except OSError as error:
        raise SettingInvalid(f"{file} cannot be read: {error.strerror}") from None


def _lines(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := source.readline(MAX_LINE_BYTES):
        number += 1
        piece = line
        while not piece.endswith(b"\n") and (piece := source.readline(MAX_LINE_BYTES)):
            pass  # skip the rest of a line that is too large
        yield number, line.strip(b" \t\r\n")
