"""Labels: short words that classify uploads, folded so that `IMAGE`, `image ` and `image` are one kind.

Both sides of a comparison are folded: uploads by `label` and `country`, scopes of pauses by `scope_labels` and
`scope_countries`, command line arguments by `fold_label` and `fold_country`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import normalize

from gate.core.fields.reasons import Dropped, Unusable
from gate.core.fields.sentinels import COUNTRIES, UNKNOWN
from gate.core.fields.text import folded, is_hidden, without_ignorables

MAX_LABEL_CHARS = 64
MAX_RAW_CHARS = 1_024
"""A longer text is refused as a label before it is folded."""
_COUNTRY = re.compile(r"[A-Z][A-Z0-9]")


def label(value: str) -> str:
    """The folded label. Raises Unusable if it is empty, too long, or has an invisible character."""
    if len(value) > MAX_RAW_CHARS:
        raise Unusable(Dropped.TOO_LONG)
    found = folded(value)
    if not found:
        raise Unusable(Dropped.UNKNOWN)
    if len(found) > MAX_LABEL_CHARS:
        raise Unusable(Dropped.TOO_LONG)
    if is_hidden(found):
        raise Unusable(Dropped.INVISIBLE)
    return found


def optional_label(value: str) -> str:
    """The folded label. Raises Unusable, also for a word that means unknown."""
    found = label(value)
    if found in UNKNOWN:
        raise Unusable(Dropped.UNKNOWN)
    return found


def country(value: str) -> str:
    """A country code of ISO 3166, two characters in capitals. Raises Unusable."""
    if len(value) > MAX_RAW_CHARS:
        raise Unusable(Dropped.TOO_LONG)
    found = without_ignorables(normalize("NFKC", value)).strip()
    # NA is Namibia
    if found.upper() in COUNTRIES or (found.upper() != "NA" and found in UNKNOWN):
        raise Unusable(Dropped.UNKNOWN)
    if not found.isascii() or not _COUNTRY.fullmatch(found.upper()):
        raise Unusable(Dropped.INVALID)
    return found.upper()


def fold_label(text: str) -> str:
    """Any text folded like a label: NFKC, without ignorable characters, without case. No text is refused."""
    return folded(text)


def fold_country(text: str) -> str:
    """Any text folded like a country: as a label, in capitals."""
    return folded(text).upper()


def scope_labels(values: Iterable[str]) -> frozenset[str]:
    """The folded classes, kinds or surfaces of a pause's scope. A value that folds to nothing stays unchanged."""
    return frozenset(folded(value) or value for value in values)


def scope_countries(values: Iterable[str]) -> frozenset[str]:
    """The folded countries of a pause's scope, as by `scope_labels`."""
    return frozenset(fold_country(value) or value for value in values)
