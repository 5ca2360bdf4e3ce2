"""Reads labelled links: lists of abusive links by the time they were first seen, and labelled rows with `urls`.

A list is a CSV of `first_seen_unix,entry`, or has one link a line. Lines that hold no link are left out and counted.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streams.core.models.link_model import LinkText, read_link
from streams.core.weblinks import WebLinks, host
from streams.lab.rows import ABUSIVE, BENIGN, RowInvalid, read_rows
from streams.lab.unread_fields import UnreadFields

MAX_LINE = 1 << 16


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


def read_links(file: Path, of_list: int, web: WebLinks, fields: UnreadFields | None = None) -> list[LinkRow]:
    """The labelled links of a file in its order. The links of a list have the label `of_list`, those of rows their own.

    Where honest links are expected, rows without a label are honest. `fields` counts the names of the rows' fields. Raises
    RowInvalid for a line that cannot be read.
    """
    found = (labelled_link(link, label, at_s, web) for at_s, link, label in _labelled(file, of_list, fields))
    return [row for row in found if row is not None]


def labelled_link(link: str, label: int, at_s: float | None, web: WebLinks) -> LinkRow | None:
    """One link with its label, None if it has no host."""
    text = read_link(link, web)
    if text is None:
        return None
    name = host(link)
    return LinkRow(text, web.registrable(name), web.own_name(name)[1], label, at_s, name)


def _labelled(file: Path, of_list: int, fields: UnreadFields | None) -> Iterator[tuple[float | None, str, int]]:
    if _is_json(file):
        for _, row in read_rows(file, fields=fields):
            label = of_list if of_list == BENIGN and row.label != ABUSIVE else row.label
            if label in (BENIGN, ABUSIVE) and isinstance(row.urls, list):
                yield from ((row.t, link, label) for link in row.urls if isinstance(link, str))
        return
    for at_s, link in _list(file):
        yield at_s, link, of_list


def _is_json(file: Path) -> bool:
    for line in _lines(file):
        if line.strip():
            return line.lstrip().startswith("{")
    return False


def _list(file: Path) -> Iterator[tuple[float | None, str]]:
    for number, line in enumerate(_lines(file), start=1):
        text = line.strip()
        if not text or text.startswith("#") or (number == 1 and text.startswith("first_seen_unix")):
            continue
        time, comma, rest = text.partition(",")
        if comma and time.strip().isdigit():
            yield float(time), next(csv.reader([rest]), [""])[0]
        else:
            yield None, text


def _lines(file: Path) -> Iterator[str]:
    try:
        with file.open("rb") as peek:
            packed = peek.read(2) == b"\x1f\x8b"
        with gzip.open(file, "rb") if packed else file.open("rb") as source:
            while raw := source.readline(MAX_LINE):
                yield raw.decode("utf-8-sig", "replace")
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise RowInvalid(file, None, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
