"""`upload-gate events check`: shows how the gate or the stream worker reads each line of a file; neither has to run.

It calls the same functions as the gate and the worker, and prints their results.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from gzip import GzipFile
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, BinaryIO

import msgspec
import typer

from gate.cli.output import Output, OutputFlag, counted, emit, result, say
from gate.core.fields import Dropped, MessageType, why_dropped
from gate.core.fields.parse import NotJson, parse
from gate.core.fields.rules import EVENTS
from gate.core.fields.unknown import meant, unknown_names, worded
from gate.errors import RequestRejected, SettingInvalid
from streams.lab.gzip_files import UNREADABLE, unpacked, why_unreadable

MAX_LINE_BYTES = 1 << 20
"""A longer line is skipped and reported as too large."""
NOT_ALL_READ = 1
MOST_OF_ANOTHER_KIND = 3
"""Lines that are shown of a file that seems to hold nothing but another kind of message."""
LONGEST_SHOWN = 60
TYPE = frozenset(("type",))
"""What an event has beside the fields of the table."""


class As(StrEnum):
    """The kind of message that a line is read as."""

    EVENT = "event"
    CHECK = "check"


class Reading(msgspec.Struct, frozen=True):
    """How one line is read. `event` holds the kept fields, `dropped` maps each dropped field to the reason, `unknown` each
    field that no such message has to the one that is probably meant."""

    line: int
    read: bool
    reason: str | None
    detail: str | None
    event: dict[str, Any] | None
    dropped: dict[str, str]
    hosts: tuple[str, ...]
    unknown: dict[str, str | None] = {}


events = typer.Typer(
    help="See how events and checks are read.",
    epilog="Example: upload-gate events check events.jsonl",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@events.callback()
def _events() -> None:
    """A group, so that `events check` is a command of its own."""


@events.command(name="check")
def check(
    file: Annotated[str, typer.Argument(help="JSON, one event a line; `-` reads stdin.", show_default=False)],
    as_: Annotated[As, typer.Option("--as", help="What the lines are.")] = As.EVENT,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Show how each line of a file is read: kept fields, dropped fields with the reason, misspelt ones, and linked hosts.

    The exit code is 0 if all lines can be read, else 1.

    Example: upload-gate events check events.jsonl -o json
    """
    unreadable: Counter[str] = Counter()
    readings = list(_readings(file, _noting(reader(as_, time.time_ns() // 1000), as_, unreadable)))
    unread = sum(not reading.read for reading in readings)
    if output is Output.JSON:
        emit([_as_json(reading) for reading in readings])
    else:
        other = next(iter(unreadable)) if len(unreadable) == 1 and unread == len(readings) else ""
        for reading in readings[: MOST_OF_ANOTHER_KIND if other else None]:
            result(*described(reading))
        say(*([other] if other else []), _sum(readings, unread))
        if _is_spread(file, readings):
            say("the file is one JSON document over several lines: write each event or check on one line of its own")
    if unread:
        raise typer.Exit(NOT_ALL_READ)


def _noting(
    read: Callable[[int, bytes], Reading], as_: As, unreadable: Counter[str]
) -> Callable[[int, bytes], Reading]:
    """`read`, which also counts in `unreadable` what the lines that cannot be read seem to be; empty for no guess."""

    def noting(line: int, data: bytes) -> Reading:
        reading = read(line, data)
        if not reading.read:
            unreadable[_seems(data, as_)] += 1
        return reading

    return noting


def _seems(data: bytes, as_: As) -> str:
    """A sentence on a line that is probably another kind of message than it is read as; empty where nothing suggests it."""
    try:
        raw = parse(data)
    except NotJson:
        return ""
    names = raw.keys() if isinstance(raw, dict) else ()
    if "account_id" in names and "account" not in names:
        return (
            "the file seems to be a labelled stream, which `replay`, `fit` and `evaluate` read: "
            f'{"an event" if as_ is As.EVENT else "a check"} names its account as {{"account":{{"id":…}}}}'
        )
    if as_ is As.EVENT and {"upload_id", "media"} <= set(names) and "type" not in names:
        return "the file seems to hold checks: read them with --as check"
    if as_ is As.CHECK and "type" in names:
        return "the file seems to hold events: read them without --as check"
    return ""


def described(reading: Reading) -> list[str]:
    """A reading as lines for people: what is kept, dropped and not known, each on a line of its own."""
    if not reading.read:
        return [f"{reading.line}: not read: {reading.reason}: {reading.detail}"]
    told = {
        "kept": ", ".join(_kept_fields(reading.event or {})),
        "dropped": ", ".join(f"{field} ({reason}: {_why(field, reason)})" for field, reason in reading.dropped.items()),
        "unknown": ", ".join(f"{name}{worded(name, found)}" for name, found in reading.unknown.items()),
        "hosts": " ".join(reading.hosts),
    }
    return [f"{reading.line}: read", *(f"   {what:<9}{text}" for what, text in told.items() if text)]


def _kept_fields(event: Mapping[str, Any], part: str = "") -> Iterator[str]:
    for name, value in event.items():
        if isinstance(value, dict):
            yield from _kept_fields(value, f"{name}.")
        elif value is not None and value != []:
            shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            yield f"{part}{name} {shorten(shown, LONGEST_SHOWN, placeholder='…') if len(shown) > LONGEST_SHOWN else shown}"


def _why(field: str, reason: str) -> str:
    return why_dropped(field, Dropped(reason)) if reason in list(Dropped) else "it cannot be used"


def _is_spread(file: str, readings: Sequence[Reading]) -> bool:
    """Whether no line can be read because all of them together are one JSON document, as in an example on a page."""
    if file == "-" or len(readings) < 2 or any(reading.read for reading in readings):
        return False
    try:
        with Path(file).open("rb") as source:
            whole = source.read(MAX_LINE_BYTES + 1)
        parse(whole)
    except (OSError, NotJson):
        return False
    return len(whole) <= MAX_LINE_BYTES


def _sum(readings: Sequence[Reading], unread: int) -> str:
    dropped, unknown = (sum(len(each) for each in told) for told in (
        [reading.dropped for reading in readings], [reading.unknown for reading in readings],
    ))  # fmt: skip
    count = f"{counted(len(readings), 'line')}: {len(readings) - unread:,} read, {unread:,} not"
    return f"{count}; {counted(dropped, 'field')} dropped" + (f", {unknown:,} not known" if unknown else "")


def _as_json(reading: Reading) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(reading)
    return shown if reading.unknown else {name: value for name, value in shown.items() if name != "unknown"}


def _unknown(data: bytes, subject: MessageType) -> dict[str, str | None]:
    """The fields of a readable line that its message lacks; those of a CloudEvent are in its data, and are not looked at."""
    raw = parse(data)
    if not isinstance(raw, dict) or "specversion" in raw:
        return {}
    return {name: meant(name, subject) for name in unknown_names(raw, subject, TYPE)}


def _meant_type(reason: str, data: bytes) -> str:
    """` (did you mean TYPE?)` for an event whose type is a misspelt one; also where a dotted type ends so."""
    from difflib import get_close_matches

    from streams.core.events import Fault

    raw = parse(data) if reason == Fault.TYPE_UNKNOWN else None
    given = raw.get("type") if isinstance(raw, dict) else None
    parts = given.lower().split(".") if isinstance(given, str) else []
    near = next((near for part in reversed(parts) for near in get_close_matches(part, sorted(EVENTS), n=1)), None)
    return worded("type", near)


def reader(as_: As, now_us: int) -> Callable[[int, bytes], Reading]:
    """Returns a function that reads a line by its number and bytes. `now_us` is the arrival time."""
    from gate.records.check import decode_check
    from streams.core.events import Unreadable, check_record, decode_counting, kind_of, time_us
    from streams.files.public_suffixes import load_web_links

    links = load_web_links()

    def kept(line: int, data: bytes, subject: MessageType, value: Any, dropped: Mapping[str, str]) -> Reading:
        hosts = links.hosts_in(getattr(value, "links", ()), getattr(value, "text", None))
        fields = msgspec.to_builtins(value)
        return Reading(line, True, None, None, fields, {**dropped}, hosts, _unknown(data, subject))

    def read(line: int, data: bytes) -> Reading:
        try:
            if as_ is As.CHECK:
                return kept(line, data, MessageType.CHECK, *decode_check(data, now_us))
            event, _, dropped = decode_counting(data)
            check_record(event, time_us(event), event.account.id.encode(), now_us // 1_000)
            return kept(line, data, MessageType(kind_of(event)), event, dropped)
        except Unreadable as error:
            return Reading(line, False, error.reason, f"{error.detail}{_meant_type(error.reason, data)}", None, {}, ())
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
        with Path(file).open("rb") as source, unpacked(source) as plain:
            for number, line in _lines(plain):
                yield read(number, line)
    except UNREADABLE as error:
        raise SettingInvalid(f"{file} cannot be read: {why_unreadable(error)}") from None


def _lines(source: BinaryIO | GzipFile) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := source.readline(MAX_LINE_BYTES):
        number += 1
        piece = line
        while not piece.endswith(b"\n") and (piece := source.readline(MAX_LINE_BYTES)):
            pass  # skip the rest of a line that is too large
        yield number, line.strip(b" \t\r\n")
