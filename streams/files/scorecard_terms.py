"""One table under `[[terms]]` of a scorecard file → a Term, and the place in the file that a complaint names.

    feature = "burst"                 or  features = ["device_accounts", "freshness"]
    kind = "bot"                      bot, scam or both; both where it is left out
    speaks = "against"                against: no points below 0; for: none above 0; both
    monotone = "up"                   optional: up, down; of two features ["up", ""]
    cuts = [0.1, 0.3]                 or  [[2, 4], [0.1, 0.5]]
    points = [0, 0.4, 1.4]            or  a row for each bin of the first feature
    missing = 0                       points where the feature is not known
    missing_first, missing_second, missing_both    the same for two features; a list by the bins of the other one
    family = "network"                optional: the family of the first feature, or of the second

A value below the first cut is in the first bin, one that equals a cut in the bin above it. Points are log odds with four
decimals at most. The keys of missing values are there if and only if the feature may be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final, TypeVar

from gate.errors import PolicyInvalid
from streams.core.features import FEATURES, PLACE
from streams.core.scorecard import UNIT, AbuseKind, Monotone, Speaks, Term

MOST_CUTS: Final = 64
MOST_POINTS: Final = 20.0
HIGHEST_CUT: Final = 1e15
_ONE: Final = ("feature", "family", "kind", "speaks", "monotone", "cuts", "points", "missing")
_TWO: Final = (
    "features", "family", "kind", "speaks", "monotone", "cuts", "points", "missing_first", "missing_second", "missing_both"
)  # fmt: skip
TABLE: Final = re.compile(r"\[[A-Za-z_][\w.\" -]*\]\s*(#.*)?")
"""The line that begins a table, such as `[caps]`; a row of points is none."""
Member = TypeVar("Member", bound=StrEnum)


@dataclass(slots=True)
class Place:
    """Where in a file something is read: in its top part, or in the term with a number, which has a name once read."""

    file: str
    text: str
    term: int | None = None
    name: str = ""

    def of_term(self, number: int) -> Place:
        """The term with this number, from 0 on."""
        return Place(self.file, self.text, number, f"terms[{number + 1}]")

    def named(self, name: str) -> None:
        """Complaints name the term from now on."""
        self.name = f"terms[{(self.term or 0) + 1}] {name}"

    def complaint(self, key: str, problem: str) -> PolicyInvalid:
        """The error that this key has this problem."""
        full = ": ".join(part for part in (self.name, key) if part)
        return PolicyInvalid(self.file, self._line(key.rpartition(".")[2]), full, problem)

    def only(self, given: Iterable[str], known: Sequence[str], before: str = "") -> None:
        """Raises PolicyInvalid for the first key that is not known."""
        for key in given:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                meant = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
                raise self.complaint(f"{before}{key}", f"unknown key; {meant}")

    def number(self, value: object, key: str, low: float, high: float) -> float:
        """A number in these bounds."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            problem = "is missing; " if value is None else ""
            raise self.complaint(key, f"{problem}must be a number from {low:g} to {high:g}, not {value!r}")
        return float(value)

    def one_of(self, value: Any, key: str, known: type[Member]) -> Member:
        """A member of `known`, which has text values."""
        try:
            return known(value)
        except ValueError:
            allowed = ", ".join(member.value or '""' for member in known)
            problem = "is missing; " if value is None else ""
            raise self.complaint(key, f"{problem}must be one of {allowed}, not {value!r}") from None

    def _line(self, key: str) -> int | None:
        """The line of the key, or of the term where that has no such key."""
        terms, began = -1, None
        here: int | None = None  # the number of the term that the line is in, None outside all terms
        for number, line in enumerate(self.text.splitlines(), start=1):
            plain = line.strip().strip("[").lstrip('"')
            if plain.startswith("terms]"):
                here = terms = terms + 1
                if here == self.term:
                    began = number
                elif began is not None:
                    break
            elif TABLE.fullmatch(line.strip()):
                here = None
            if here == self.term:
                word = plain.split("=")[0].split("]")[0].rstrip().rstrip('"')
                if key and word == key:
                    return number
        return began


def read_term(given: Mapping[str, Any], place: Place) -> Term:
    """The term in a table of the file. Raises PolicyInvalid."""
    two = "features" in given
    place.only(given, _TWO if two else _ONE)
    features = _features(given, place, two)
    place.named("+".join(features))
    families = [FEATURES[PLACE[feature]].family for feature in features]
    family = given.get("family", families[0])
    if family not in families:
        raise place.complaint(
            "family", f"must be {' or '.join(dict.fromkeys(families))}, the family of a feature of it"
        )
    cuts = _cuts(given.get("cuts"), place, two)
    return Term(
        features,
        family,
        cuts,
        _pair_points(given, place, features, cuts) if two else _single_points(given, place, features[0], cuts[0]),
        place.one_of(given.get("kind", AbuseKind.BOTH), "kind", AbuseKind),
        place.one_of(given.get("speaks"), "speaks", Speaks),
        _monotone(given.get("monotone"), place, two),
    )


def _features(given: Mapping[str, Any], place: Place, two: bool) -> tuple[str, ...]:
    key = "features" if two else "feature"
    features = given.get(key)
    listed = features if isinstance(features, list) else [features]
    if two and (len(listed) != 2 or len({str(one) for one in listed}) != 2):
        raise place.complaint(key, "must be two features")
    for feature in listed:
        if not isinstance(feature, str) or feature not in PLACE:
            close = get_close_matches(str(feature), PLACE, n=1)
            meant = f"did you mean {close[0]}?" if close else f"known are {', '.join(PLACE)}"
            raise place.complaint(key, f"{feature!r} is not a feature; {meant}")
    return tuple(listed)


def _cuts(given: object, place: Place, two: bool) -> tuple[tuple[float, ...], ...]:
    lists = given if two else [given]
    if not isinstance(lists, list) or len(lists) != (2 if two else 1):
        raise place.complaint("cuts", "must be two lists of numbers, one for each feature")
    for cuts in lists:
        if not isinstance(cuts, list) or not 1 <= len(cuts) <= MOST_CUTS:
            raise place.complaint("cuts", f"must be a list of 1 to {MOST_CUTS} numbers")
        for cut in cuts:
            place.number(cut, "cuts", -HIGHEST_CUT, HIGHEST_CUT)
        if any(low >= high for low, high in pairwise(cuts)):
            raise place.complaint("cuts", "must rise from one to the next")
    return tuple(tuple(map(float, cuts)) for cuts in lists)


def _monotone(given: object, place: Place, two: bool) -> tuple[Monotone, ...]:
    if given is None:
        return (Monotone.EITHER,) * (2 if two else 1)
    listed = given if two else [given]
    if not isinstance(listed, list) or len(listed) != (2 if two else 1):
        raise place.complaint("monotone", 'must be two of "up", "down" and "", one for each feature')
    return tuple(place.one_of(one, "monotone", Monotone) for one in listed)


def _single_points(given: Mapping[str, Any], place: Place, feature: str, cuts: Sequence[float]) -> tuple[int, ...]:
    known = _row(given.get("points"), place, "points", len(cuts) + 1)
    return (*known, _missing(given, place, "missing", (feature,)))


def _pair_points(
    given: Mapping[str, Any], place: Place, features: tuple[str, ...], cuts: Sequence[Sequence[float]]
) -> tuple[int, ...]:
    heights, widths = len(cuts[0]) + 1, len(cuts[1]) + 1
    rows = given.get("points")
    if not isinstance(rows, list) or len(rows) != heights:
        raise place.complaint("points", f"must be {heights} rows, one for each bin of {features[0]}")
    known = [_row(row, place, "points", widths) for row in rows]
    last = _missing_row(given, place, "missing_second", features[1], heights)
    first = _missing_row(given, place, "missing_first", features[0], widths)
    both = _missing(given, place, "missing_both", features)
    return tuple(
        point for row, unknown in zip([*known, first], [*last, both], strict=True) for point in (*row, unknown)
    )


def _missing_row(given: Mapping[str, Any], place: Place, key: str, feature: str, length: int) -> tuple[int, ...]:
    if _may_be_unknown((feature,), given, place, key):
        return _row(given[key], place, key, length)
    return (0,) * length


def _missing(given: Mapping[str, Any], place: Place, key: str, features: tuple[str, ...]) -> int:
    return _point(given[key], place, key) if _may_be_unknown(features, given, place, key) else 0


def _may_be_unknown(features: tuple[str, ...], given: Mapping[str, Any], place: Place, key: str) -> bool:
    """True if all of the features may be unknown; raises PolicyInvalid if the key is or is not there against that."""
    expected = all(FEATURES[PLACE[feature]].may_be_unknown for feature in features)
    if expected and key not in given:
        raise place.complaint(key, f"is missing; give the points where {' and '.join(features)} is not known")
    if not expected and key in given:
        known = [feature for feature in features if not FEATURES[PLACE[feature]].may_be_unknown]
        raise place.complaint(key, f"must be left out, as {known[0]} is always known")
    return expected


def _row(given: object, place: Place, key: str, length: int) -> tuple[int, ...]:
    if not isinstance(given, list) or len(given) != length:
        raise place.complaint(key, f"must be a list of {length} numbers, one for each bin")
    return tuple(_point(one, place, key) for one in given)


def _point(given: object, place: Place, key: str) -> int:
    points = place.number(given, key, -MOST_POINTS, MOST_POINTS) * UNIT
    if abs(points - round(points)) > 1e-6:
        raise place.complaint(key, f"{given!r} has more than four decimals; round it")
    return round(points)
