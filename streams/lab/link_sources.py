"""The links that a fit or a judgement of the link model uses: those of the given files, and honest ones at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gate.errors import OperatorError
from streams.core.models.link_model import LinkText
from streams.core.weblinks import WebLinks
from streams.lab.honest_links import honest_hosts, plain_names
from streams.lab.link_rows import LinkRow, labelled_link, read_links
from streams.lab.row_notes import RowNotes
from streams.lab.rows import ABUSIVE, BENIGN, FIELDS

PLAIN_NAMES: Final = 6_000
_AT_HAND: Final = "honest hosts of installed packages"
_PLAIN: Final = "made names on shared hosting"


@dataclass(frozen=True, slots=True)
class LinkSources:
    """Labelled links by source, each of one label, the number of links by source, and what is to be said of the rows."""

    sources: list[list[LinkRow]]
    counts: dict[str, int]
    notes: Sequence[str] = ()


def links_to_fit(files: Sequence[Path], negatives: Path | None, web: WebLinks, seed: int) -> LinkSources:
    """The links of the files, and always honest ones at hand beside them."""
    given, notes = _given(files, negatives, web)
    given[_AT_HAND] = _honest(for_fitting=True, web=web)
    given[_PLAIN] = [LinkRow(LinkText(name, ""), name, True, BENIGN, None) for name in plain_names(PLAIN_NAMES, seed)]
    return _by_class(given, notes)


def links_to_judge(files: Sequence[Path], negatives: Path | None, web: WebLinks) -> LinkSources:
    """The links of the files. Where none of them is honest, honest ones at hand that no fit has seen are added."""
    given, notes = _given(files, negatives, web)
    if not any(row.label == BENIGN for rows in given.values() for row in rows):
        given[_AT_HAND] = _honest(for_fitting=False, web=web)
    return _by_class(given, notes)


def _given(
    files: Sequence[Path], negatives: Path | None, web: WebLinks
) -> tuple[dict[str, list[LinkRow]], Sequence[str]]:
    given: dict[str, list[LinkRow]] = {}
    noted = RowNotes(FIELDS)
    for file, label in [(file, ABUSIVE) for file in files] + [(file, BENIGN) for file in [negatives] if file]:
        given.setdefault(file.name, []).extend(read_links(file, label, web, noted))
    if not any(given.values()):
        raise OperatorError(
            f"the files hold no labelled link{noted.hint()}",
            "give a CSV of first_seen_unix,entry or rows with urls",
        )
    return given, noted.notes()


def _honest(for_fitting: bool, web: WebLinks) -> list[LinkRow]:
    found = (labelled_link(name, BENIGN, None, web) for name in honest_hosts(for_fitting))
    return [row for row in found if row is not None]


def _by_class(given: dict[str, list[LinkRow]], notes: Sequence[str]) -> LinkSources:
    sources = [
        of_label
        for rows in given.values()
        for label in (BENIGN, ABUSIVE)
        if (of_label := [row for row in rows if row.label == label])
    ]
    return LinkSources(sources, {name: len(rows) for name, rows in given.items()}, notes)
