"""The complete, ordered vector of named features that an account's facts and surroundings give, zeros included.

Each family of features has a file, which lists what its numbers mean and reads them. A scorecard weighs features by
their names; it caps the evidence of a family. A vector is a tuple of floats in the order of `FEATURES`. A feature is
added in its family's file; a family also has a line in
`_FAMILY_FILES`, in `_USUAL` or `_RARE` and in `_facts_reader`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from struct import Struct
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np

from streams.core.crowd import ManySurroundings, Surroundings
from streams.core.facts import Facts
from streams.core.features import (
    age,
    campaign,
    captions,
    challenge,
    crowd,
    fields,
    history,
    links,
    network,
    reports,
    sameness,
    style,
    tempo,
    text,
)
from streams.core.features.fact_features import FactColumns, FactFeatures, ReadsSharing
from streams.core.features.feature import UNKNOWN, Feature
from streams.core.features.feature_columns import FeatureColumns
from streams.core.features.shared_columns import campaign_columns, crowd_columns, network_columns
from streams.core.features.times import last_evidence_us

ReadsFamily = Callable[[Facts, Surroundings, int], tuple[float, ...]]


class Family(Protocol):
    """A family's file."""

    @property
    def FEATURES(self) -> tuple[Feature, ...]: ...

    @property
    def read(self) -> ReadsFamily: ...


class CheapFamily(Family, Protocol):
    """A family's file that reads some of its features, those that scorecards weigh most, at less cost."""

    @property
    def CHEAP(self) -> tuple[str, ...]: ...

    @property
    def read_cheap(self) -> ReadsFamily: ...


class SharedFamily(Protocol):
    """A family's file whose features are read with what an account shares."""

    @property
    def FEATURES(self) -> tuple[Feature, ...]: ...

    @property
    def read(self) -> ReadsSharing: ...


_FAMILY_FILES: Final[tuple[Family, ...]] = (
    history,
    tempo,
    age,
    sameness,
    network,
    crowd,
    links,
    text,
    reports,
    challenge,
    fields,
    campaign,
    captions,
    style,
)

FEATURES: Final[tuple[Feature, ...]] = tuple(feature for family in _FAMILY_FILES for feature in family.FEATURES)
"""The closed, ordered list: what each number of a vector means."""
FAMILIES: Final = tuple(dict.fromkeys(feature.family for feature in FEATURES))
PLACE: Final[Mapping[str, int]] = MappingProxyType({feature.name: place for place, feature in enumerate(FEATURES)})
"""Where in the vector a feature stands, by its name."""


class Features(tuple[float, ...]):
    """A vector; its numbers are also attributes by the names of the features."""

    __slots__ = ()

    def __getattr__(self, name: str) -> float:
        try:
            return self[PLACE[name]]
        except KeyError:
            raise AttributeError(name) from None


def features(facts: Facts, around: Surroundings) -> Features:
    """The vector of an account with these surroundings, as of its last event. An unknown value is the object `UNKNOWN`, so
    that vectors of equal numbers are equal."""
    return Features(UNKNOWN if value != value else value for value in vector_of(facts, around))


def vector_of(facts: Facts, around: Surroundings) -> list[float]:
    """The same numbers without their names, at less cost."""
    return _read_all(facts, around)


class VectorReader:
    """Reads vectors for those who look at the features `names` only. Others are unknown, but for those that are
    read with the surroundings anyway.

    `of_facts` reads what facts alone give, while they are at hand; `whole` and `columns` read the rest.
    """

    def __init__(self, names: Collection[str]) -> None:
        wanted = {family: [one.name for one in family.FEATURES if one.name in names] for family in (*_USUAL, *_RARE)}
        self._of_facts = tuple(PLACE[name] for of_family in wanted.values() for name in of_family)
        self._columns = [
            (columns, kept)
            for family, columns in zip(_SHARED, _COLUMNS, strict=True)
            if (kept := [number for number, one in enumerate(family.FEATURES) if one.name in names])
        ]
        self._of_shared = tuple(PLACE[one.name] for family in _SHARED for one in family.FEATURES if one.name in names)
        self._row = Struct(f"{len(self._of_facts)}d")
        self.of_facts = _facts_reader(
            {family: _read_of(family, some) for family, some in wanted.items()},
            {family: len(some) for family, some in wanted.items()},
        )
        self._readers = tuple(_shared(family, names) for family in _SHARED)

    def whole(self, given: FactFeatures, around: Surroundings) -> list[float]:
        """The vector of an account with these surroundings."""
        vector = [UNKNOWN] * len(FEATURES)
        for place, value in zip(self._of_facts, self._row.unpack(given.row), strict=True):
            vector[place] = value
        network_values, crowd_values, campaign_values = [read(given, around, given.latest_us) for read in self._readers]
        vector[_PLACES] = *network_values, *crowd_values
        vector[_CAMPAIGNS] = campaign_values
        return vector

    def columns(self, given: FactColumns, around: ManySurroundings) -> FeatureColumns:
        """The features of many accounts with their surroundings."""
        of_facts = np.frombuffer(b"".join(given.row)).reshape(len(given.row), -1).T
        shared = [read(given, around)[kept] for read, kept in self._columns]
        return FeatureColumns((*self._of_facts, *self._of_shared), np.concatenate((of_facts, *shared)))

    def __call__(self, facts: Facts, around: Surroundings) -> list[float]:
        """The vector of an account with these surroundings."""
        return self.whole(self.of_facts(facts), around)


def _facts_reader(
    readers: Mapping[Family, ReadsFamily], widths: Mapping[Family, int]
) -> Callable[[Facts], FactFeatures]:
    made = tuple.__new__  # a named tuple's own constructor takes longer
    read_history, read_tempo, read_age, read_sameness, read_text, read_captions, read_style = (
        readers[family] for family in _USUAL
    )
    read_links, read_reports, read_challenge, read_fields = (readers[family] for family in _RARE)
    pack_usual = Struct(f"{sum(widths[family] for family in _USUAL)}d").pack
    pack_rare = Struct(f"{sum(widths[family] for family in _RARE)}d").pack
    none_rare = pack_rare(*[value for family in _RARE for value in readers[family](Facts(), _NOBODY, 0)])

    def read(facts: Facts) -> FactFeatures:
        now_us = facts.latest_us
        row = pack_usual(  # each call has a place of its own, which the interpreter makes quicker than a loop over them
            *read_history(facts, _NOBODY, now_us),
            *read_tempo(facts, _NOBODY, now_us),
            *read_age(facts, _NOBODY, now_us),
            *read_sameness(facts, _NOBODY, now_us),
            *read_text(facts, _NOBODY, now_us),
            *read_captions(facts, _NOBODY, now_us),
            *read_style(facts, _NOBODY, now_us),
        )
        if facts.linked or facts.malformed or facts.reporters or facts.removals or facts.passed or facts.failed:
            row += pack_rare(
                *read_links(facts, _NOBODY, now_us),
                *read_reports(facts, _NOBODY, now_us),
                *read_challenge(facts, _NOBODY, now_us),
                *read_fields(facts, _NOBODY, now_us),
            )
        else:
            row += none_rare
        return made(FactFeatures, (
            row, last_evidence_us(facts), facts.offset, now_us, facts.uploads, facts.created_us,
            facts.host_repeats, facts.suspicion, facts.networks, facts.devices, facts.content, facts.host,
        ))  # fmt: skip

    return read


def _slice_of(*families: Family) -> slice:
    """The places of families that stand side by side."""
    names = [feature.name for family in families for feature in family.FEATURES]
    return slice(PLACE[names[0]], PLACE[names[-1]] + 1)


_USUAL: Final[tuple[Family, ...]] = (history, tempo, age, sameness, text, captions, style)
_RARE: Final[tuple[Family, ...]] = (links, reports, challenge, fields)
"""Families whose features are those of an account without history, unless the account has links, reports, removals,
challenges or malformed fields, which few have."""
_CHEAP: Final[tuple[CheapFamily, ...]] = (tempo, age, sameness, text, captions)
_SHARED: Final = (network, crowd, campaign)
_COLUMNS: Final = (network_columns, crowd_columns, campaign_columns)
_PLACES: Final = _slice_of(network, crowd)
_CAMPAIGNS: Final = _slice_of(campaign)
_NOBODY: Final = Surroundings()


def _shared(family: SharedFamily, names: Collection[str]) -> ReadsSharing:
    if any(feature.name in names for feature in family.FEATURES):
        return family.read
    unknown = (UNKNOWN,) * len(family.FEATURES)
    return lambda given, around, now_us: unknown


def _read_of(family: Family, wanted: Sequence[str]) -> ReadsFamily:
    """Reads the features `wanted`, which are in the family's order, at as little cost as the family knows how to."""
    if not wanted:
        return lambda facts, around, now_us: ()
    for cheap in _CHEAP:
        if cheap is family and set(wanted) <= set(cheap.CHEAP):
            return _some(cheap.read_cheap, cheap.CHEAP, wanted)
    return _some(family.read, [one.name for one in family.FEATURES], wanted)


def _some(read: ReadsFamily, names: Sequence[str], wanted: Sequence[str]) -> ReadsFamily:
    """What `read` gives for the features `names`, of which only those that are `wanted`."""
    places = [place for place, name in enumerate(names) if name in wanted]
    if len(places) == len(names):
        return read
    if len(places) == 1:  # a getter of one item would give that item, and no row
        (place,) = places
        return lambda facts, around, now_us: (read(facts, around, now_us)[place],)
    row = itemgetter(*places)
    return lambda facts, around, now_us: row(read(facts, around, now_us))


def named(vector: Sequence[float]) -> dict[str, float]:
    """The vector's numbers by the names of the features."""
    return {feature.name: value for feature, value in zip(FEATURES, vector, strict=True)}


_read_all: Final = VectorReader(PLACE)
