"""Reads labelled streams as texts for the caption model: selects the rows, and groups them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from gate.errors import OperatorError
from streams.core.models.alphabet import Alphabet
from streams.lab.families import Shown, family_numbers
from streams.lab.fit_texts import Labelled, require_labels
from streams.lab.row_notes import RowNotes
from streams.lab.rows import ABUSIVE, BENIGN, FIELDS, Row, caption, read_rows

LEAST_FAMILIES: Final = 5
"""Families of each class from which no fold splits one; with fewer, families are not told apart."""


@dataclass(frozen=True, slots=True)
class LabelledFiles:
    """The labelled captions of some files, their number in each file, and what is to be said of the rows."""

    labelled: Labelled
    rows: dict[str, int]
    notes: Sequence[str] = ()


def read_labelled_captions(files: Sequence[Path], alphabet: Alphabet | None = None) -> LabelledFiles:
    """Every row with a caption and a label of 0 or 1. Raises RowInvalid, and OperatorError if there is no such row, or with an
    alphabet, which only a fit needs, too few for a fit.

    Rows of one account, rows with one content or the same caption, and rows of accounts of one family are one group.
    """
    rows: list[Row] = []
    counts: dict[str, int] = {}
    noted = RowNotes(FIELDS)
    for file in files:
        labelled = (row for _, row in read_rows(file, True, noted) if row.label in (BENIGN, ABUSIVE))
        found = [msgspec.structs.replace(row, text=text) for row in labelled if (text := caption(row))]
        counts[file.name] = len(found)
        rows += found
    if not rows:
        raise OperatorError(
            f"no row has both a text and a label of 0 or 1{noted.hint()}",
            "give a labelled stream with captions",
        )
    labels = np.array([row.label for row in rows], np.int64)
    if alphabet is not None:
        require_labels(labels)  # families are worth their time only then
    family_of = {} if alphabet is None else _families(rows, alphabet)
    if any(
        len({family_of.get(r.account_id) for r in rows if r.label == label}) < LEAST_FAMILIES
        for label in (BENIGN, ABUSIVE)
    ):
        family_of = {}  # too few to split by
    keys = [
        (
            f"account:{row.account_id}",
            f"content:{row.content_key or row.text}",
            f"family:{family_of.get(row.account_id, row.account_id)}",
        )
        for row in rows
    ]
    texts = [row.text for row in rows]
    authors = group_numbers([of_account, of_family] for of_account, _, of_family in keys)
    return LabelledFiles(
        Labelled(texts, labels, np.array(group_numbers(keys)), np.array(authors)), counts, noted.notes()
    )


def _families(rows: Sequence[Row], alphabet: Alphabet) -> dict[str, int]:
    """The family of each account, by what its wording shares with that of others."""
    accounts = list(dict.fromkeys(row.account_id for row in rows))
    texts = (Shown(row.account_id, None, None, None, row.text) for row in rows)
    return dict(zip(accounts, family_numbers(accounts, texts, alphabet).tolist(), strict=True))


def group_numbers(keys: Iterable[Sequence[str]]) -> list[int]:
    """A group number for each item. Items that share a key, directly or through other items, have the same number."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    items = [tuple(of_item) for of_item in keys]
    for first, *others in items:
        for other in others:
            parent[root(other)] = root(first)
    numbers: dict[str, int] = {}
    return [numbers.setdefault(root(first), len(numbers)) for first, *_ in items]
