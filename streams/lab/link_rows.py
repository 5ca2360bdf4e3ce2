"""Reads labelled links: lists of abusive links by the time they were first seen, and labelled rows with `urls`.

A list is a CSV of `first_seen_unix,entry`, or has one link a line. A time is in seconds since 1970 or ISO 8601, in UTC unless
it names a zone; a rank may stand in its place to order the list. Lines without a link are left out and counted.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from streams.core.models.link_model import LinkText, read_link
from streams.core.weblinks import WebLinks, host
from streams.lab.gzip_files import UNREADABLE, opened, why_unreadable
from streams.lab.row_notes import RowNotes
from streams.lab.rows import ABUSIVE, BENIGN, MAX_TIME_S, RowInvalid, read_rows

MAX_LINE = 1 << 16
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?", re.IGNORECASE | re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One labelled link. `at_s` is when it was first seen, None if unknown; `site` is the domain somebody registered.

    `host` is the whole host, `` for a name that was made without one.
    """

    text: LinkText
    site: str
    hosted: bool
    label: int
    at_s: float | None
    host: str = ""


def read_links(file: Path, of_list: int, web: WebLinks, notes: RowNotes | None = None) -> list[LinkRow]:
    """The labelled links of a file in its order. The links of a list have the label `of_list`, those of rows their own.

    Where honest links are expected, rows without a label are honest. `notes` counts what is noted of the rows. Raises
    RowInvalid for a line that cannot be read.
    """
    found = (labelled_link(link, label, at_s, web) for at_s, link, label in _labelled(file, of_list, notes))
    return [row for row in found if row is not None]


def labelled_link(link: str, label: int, at_s: float | None, web: WebLinks) -> LinkRow | None:
    """One link with its label, None if it has no host."""
    text = read_link(link, web)
    if text is None:
        return None
    name = host(link)
    return LinkRow(text, web.registrable(name), web.own_name(name)[1], label, at_s, name)


def _labelled(file: Path, of_list: int, notes: RowNotes | None) -> Iterator[tuple[float | None, str, int]]:
    if _is_json(file):
        for _, row in read_rows(file, notes=notes):
            label = of_list if of_list == BENIGN and row.label != ABUSIVE else row.label
            if label in (BENIGN, ABUSIVE) and isinstance(row.urls, list):
                yield from ((row.t, link, label) for link in row.urls if isinstance(link, str))
        return
    for at_s, link in _list(file):
        yield at_s, link, of_list


def _is_json(file: Path) -> bool:
    for line in _lines(file):
        if line is None:
            return True  # of such lines only rows may be read
        if line.strip():
            return line.lstrip().startswith("{")
    return False


def _list(file: Path) -> Iterator[tuple[float | None, str]]:
    for number, line in enumerate(_lines(file), start=1):
        if line is None:
            raise RowInvalid(file, number, f"it is longer than {MAX_LINE:,} bytes, so it is no link")
        text = line.strip()
        if not text or text.startswith("#") or (number == 1 and text.strip('"').startswith("first_seen_unix")):
            continue
        time, comma, rest = text.partition(",")
        at_s = _time_s(file, number, time.strip().strip('"')) if comma else None
        yield at_s, text.strip('"') if at_s is None else next(csv.reader([rest.lstrip()]), [""])[0]


def _time_s(file: Path, line: int, text: str) -> float | None:
    """The time that `text` states; None if it does not look like a time. Raises RowInvalid for an impossible one."""
    try:
        if _DATE.fullmatch(text):
            moment = datetime.fromisoformat(text)
            at_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        elif _NUMBER.fullmatch(text):
            at_s = float(text)
        else:
            return None
    except ValueError:
        at_s = -1.0
    if not 0.0 <= at_s < MAX_TIME_S:
        raise RowInvalid(file, line, f"first_seen_unix: {text[:40]} is no time in seconds since 1970 or ISO 8601")
    return at_s


def _lines(file: Path) -> Iterator[str | None]:
    """The lines of a file; None for a part of one that is too long for a link."""
    try:
        with opened(file) as source:
            while raw := source.readline(MAX_LINE):
                yield raw.decode("utf-8-sig", "replace") if len(raw) < MAX_LINE or raw.endswith(b"\n") else None
    except UNREADABLE as error:
        raise RowInvalid(file, None, f"cannot be read: {why_unreadable(error)}") from None
