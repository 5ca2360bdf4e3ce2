"""Notes on the rows of a labelled stream: fields that are probably misspelt, and bytes that are not UTF-8.

Rows may have fields of their own, which are not read. A `caption` in place of `text` would leave every caption out
without a word, so it is named where no row has the field that is meant. Text of another encoding is read with U+FFFD in
the place of its letters, which no model should be fitted to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

SIMILAR: Final = 0.75
MOST_COUNTED: Final = 1_000
"""Names that are counted; more are those of data in the place of names."""
OTHER_NAMES: Final[Mapping[str, str]] = {
    "account": "account_id", "user_id": "account_id", "user": "account_id", "uid": "account_id",
    "time": "t", "timestamp": "t", "ts": "t", "at": "t",
    "created_at": "account_created_at", "account_created": "account_created_at",
    "device_id": "device", "ip_address": "ip", "addr": "ip",
    "content_hash": "content_key", "sha256": "content_key", "hash": "content_key", "content_id": "content_key",
    "caption": "text", "message": "text", "description": "text", "body": "text",
    "url": "urls", "link": "urls", "links": "urls",
    "is_abusive": "label", "abusive": "label", "target": "label", "class": "label",
}  # fmt: skip
"""What other systems call a field of a row."""


class RowNotes:
    """Counts the names of the fields of rows, and the rows that are not UTF-8."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self._present: set[str] = set()
        self._others: Counter[str] = Counter()
        self._not_utf8 = 0

    def add(self, row: Mapping[str, Any], written: bytes) -> None:
        """Count one row, as read and as it is written."""
        self._not_utf8 += not _is_utf8(written)
        names = row.keys()
        self._present |= names & self._known
        for name in names - self._known:
            if len(self._others) < MOST_COUNTED or name in self._others:
                self._others[name] += 1

    def notes(self) -> list[str]:
        """A sentence for each field that is not read, and is probably one that no row has; one for rows that are not UTF-8."""
        misnamed = [
            f"{count:,} rows have a field {name}, which is not read; did you mean {field}?"
            for count, name, field in self._misnamed()
        ]
        if not self._not_utf8:
            return misnamed
        return [
            *misnamed,
            f"rows that hold bytes which are not UTF-8: {self._not_utf8:,}; each such letter is read as \ufffd, so write the "
            "file as UTF-8",
        ]

    def hint(self) -> str:
        """The same behind the problem of an error; empty where there is nothing to say."""
        found = ", ".join(f"{name} in place of {field}" for _, name, field in self._misnamed())
        return f" (rows have {found})" if found else ""

    def _misnamed(self) -> list[tuple[int, str, str]]:
        missing = self._known - self._present
        found = ((count, name, _meant(name, missing)) for name, count in sorted(self._others.items()))
        return [(count, name, field) for count, name, field in found if field is not None]


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _meant(name: str, missing: frozenset[str]) -> str | None:
    """The field among those that no row has that is probably meant."""
    plain = name.lower().replace("-", "_")
    for field in (plain, OTHER_NAMES.get(plain)):
        if field in missing:
            return field
    close = get_close_matches(plain, sorted(missing), n=1, cutoff=SIMILAR)
    return close[0] if close else None
