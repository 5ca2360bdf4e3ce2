"""A scorecard file (TOML) → a checked Scorecard. Every complaint names the file, the term, the key and what to do.

    version = 2
    base_rate = 0.02        # the share of abusive accounts on the platform
    training_share = 0.5    # their share among the rows that the points were fitted on
    slope = 1.0
    offset = 0.0
    alone_at_most = 0.5     # no family of evidence alone lifts an account above this risk
    [decay]                 # without it scores do not decay
    half_life = "72h"
    [caps]                  # log odds; lower than what follows from alone_at_most
    text = 1.0
    [[terms]]               # `streams.files.scorecard_terms` says what a term has

Leaves what the features mean to `streams.core.features`, and the sums to `streams.core.scorecard`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from gate.core.duration import HOUR_US, parse_duration_us
from gate.errors import PolicyInvalid, file_problem
from gate.policyfile import packaged_config
from streams.core.features import FAMILIES
from streams.core.scorecard import ALONE_AT_MOST, Scorecard, Term, faults, made_of
from streams.files.scorecard_terms import Place, read_term

T = TypeVar("T")
SHIPPED: Final = "scorecard.toml"
VERSION: Final = 2
MOST_TERMS: Final = 400
KEYS: Final = (
    "version",
    "base_rate",
    "training_share",
    "slope",
    "offset",
    "alone_at_most",
    "decay",
    "caps",
    "terms",
)
FORMER: Final = (
    "is 1, the format of weights, which is no longer read: write terms of features with cuts and points. Begin with the "
    "shipped scorecard (config/scorecard.toml), or fit one with `upload-gate fit accounts`"
)


def load_scorecard(path: Path | None) -> Scorecard:
    """The scorecard in `path`, the shipped one for None. Raises PolicyInvalid."""
    if path is None:
        return parse_scorecard(packaged_config(SHIPPED)[0], SHIPPED)
    return parse_scorecard(read_scorecard_text(path), str(path))


def read_scorecard_text(path: Path) -> str:
    """The text of the file, which is UTF-8 in every locale. Raises PolicyInvalid."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyInvalid(str(path), None, "", f"cannot be read ({file_problem(error)}); give a TOML file") from None


def parse_scorecard(text: str, file: str) -> Scorecard:
    """The scorecard that `text` spells; `file` is only named in complaints. Raises PolicyInvalid."""
    card, complaints = check_scorecard(text, file)
    if card is None:
        raise complaints[0]
    return card


def check_scorecard(text: str, file: str) -> tuple[Scorecard | None, list[PolicyInvalid]]:
    """The scorecard that `text` spells, or None and what is wrong: at most one complaint about each term and each key."""
    complaints: list[PolicyInvalid] = []
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [PolicyInvalid(file, None, "", f"not TOML: {error}")]
    card = _read(given, Place(file, text), complaints)
    return (None if complaints else card), sorted(complaints, key=lambda one: (one.line is None, one.line or 0))


class _Parts:
    """Reads the parts of a file one by one, so that all that is wrong with them is told at once."""

    def __init__(self, complaints: list[PolicyInvalid]) -> None:
        self._complaints = complaints

    def read(self, part: Callable[[], T], otherwise: T) -> T:
        """A part, or `otherwise` for one that is complained of."""
        try:
            return part()
        except PolicyInvalid as error:
            self._complaints.append(error)
            return otherwise


def _read(given: Mapping[str, Any], top: Place, complaints: list[PolicyInvalid]) -> Scorecard | None:
    """The scorecard; None if anything of it is wrong, which is added to `complaints`."""
    read = _Parts(complaints).read

    def number(key: str, low: float, high: float, default: float | None = None) -> float:
        return read(lambda: top.number(given.get(key, default), key, low, high), low)

    version = given.get("version")
    if version != VERSION:
        complaints.append(top.complaint("version", FORMER if version == 1 else f"must be {VERSION}"))
        return None
    read(lambda: top.only(given, KEYS), None)
    terms: list[Term] = read(lambda: _terms(given.get("terms"), top, complaints), [])
    used = {term.family for term in terms} if not complaints else set(FAMILIES)
    caps = _caps(given.get("caps", {}), top, used, _Parts(complaints))
    numbers = {
        "base_rate": number("base_rate", 1e-6, 1.0 - 1e-6),
        "training_share": number("training_share", 1e-6, 1.0 - 1e-6),
        "slope": number("slope", 0.01, 100.0, 1.0),
        "offset": number("offset", -20.0, 20.0, 0.0),
        "alone_at_most": number("alone_at_most", 0.01, 0.99, ALONE_AT_MOST),
    }
    half_life_us = read(lambda: _half_life_us(given.get("decay", {}), top), 0)
    if complaints:
        return None
    try:
        return made_of(terms, caps=caps, half_life_us=half_life_us, **numbers)
    except ValueError as error:
        complaints.append(
            top.complaint("alone_at_most", f"leaves evidence no room: {error}; raise it, or lower the offset")
        )
        return None


def _terms(given: object, top: Place, complaints: list[PolicyInvalid]) -> list[Term]:
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise top.complaint("terms", "must be tables, each under [[terms]], at least one")
    if len(given) > MOST_TERMS:
        raise top.complaint("terms", f"are {len(given)}, more than {MOST_TERMS}; leave out those that say least")
    terms: dict[frozenset[str], Term] = {}
    for number, one in enumerate(given):
        try:
            term = _term(one, top.of_term(number), terms)
        except PolicyInvalid as error:
            complaints.append(error)
        else:
            terms[frozenset(term.features)] = term
    return list(terms.values())


def _term(given: Mapping[str, Any], place: Place, others: Mapping[frozenset[str], Term]) -> Term:
    term = read_term(given, place)
    place.named(term.name)
    if frozenset(term.features) in others:
        raise place.complaint("", "stands twice; make one term of both by adding their points")
    for fault in faults(term):
        raise place.complaint("points", f"{fault}; correct the points, or what the term states of them")
    return term


def _caps(given: object, top: Place, used: Collection[str], parts: _Parts) -> Mapping[str, float]:
    def cap(family: str, value: object) -> float:
        top.only((family,), FAMILIES, "caps.")
        if family not in used:
            raise top.complaint(f"caps.{family}", "is the cap of a family without terms; leave it out")
        return top.number(value, f"caps.{family}", 0.0, 20.0)

    def table() -> dict[str, Any]:
        if not isinstance(given, dict):
            raise top.complaint("caps", "must be a table")
        return given

    caps: dict[str, Any] = parts.read(table, {})
    return {family: parts.read(partial(cap, family, value), 0.0) for family, value in caps.items()}


def _half_life_us(decay: Any, top: Place) -> int:
    """The half-life of scores, 0 where they do not decay."""
    if not isinstance(decay, dict):
        raise top.complaint("decay", "must be a table")
    top.only(decay, ("half_life",), "decay.")
    if "half_life" not in decay:
        return 0
    try:
        half_life_us = parse_duration_us(str(decay["half_life"]))
    except ValueError as error:
        raise top.complaint("decay.half_life", str(error)) from None
    if half_life_us < HOUR_US:
        raise top.complaint("decay.half_life", "must be 1h or longer")
    return half_life_us
