"""The complete, ordered vector of named features that an account's facts and surroundings give, zeros included.

Each family of features has a file, which lists what its numbers mean and reads them. A scorecard weighs features by
their names; it caps the evidence of a family. A vector is a tuple of floats in the order of `FEATURES`. A feature is
added in its family's file; a family also has a line in
`_FAMILY_FILES` and in `vector_reader`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from streams.core.crowd import Surroundings
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
from streams.core.features.feature import UNKNOWN, Feature

ReadsFamily = Callable[[Facts, Surroundings, int], tuple[float, ...]]


class Family(Protocol):
    """A family's file."""

    @property
    def FEATURES(self) -> tuple[Feature, ...]: ...

    @property
    def read(self) -> ReadsFamily: ...


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
    """The vector of an account with these surroundings, as of its last event."""
    return Features(vector_of(facts, around))


def vector_of(facts: Facts, around: Surroundings) -> list[float]:
    """The same numbers without their names, at less cost."""
    return _read_all(facts, around)


ReadsVector = Callable[[Facts, Surroundings], list[float]]


def vector_reader(names: Collection[str]) -> ReadsVector:
    """Reads vectors for those who look at the features `names` only.

    Families without one of them are unknown, and so may be others where they would cost much.
    """
    (
        read_history, read_tempo, read_age, read_sameness, read_network, read_crowd,
        read_links, read_text, read_reports, read_challenge, read_fields,
        read_campaign, read_captions, read_style,
    ) = (_read_of(family, names) for family in _FAMILY_FILES)  # fmt: skip

    def read(facts: Facts, around: Surroundings) -> list[float]:
        now_us = facts.latest_us
        return [  # each call has a place of its own, which the interpreter makes quicker than a loop over them
            *read_history(facts, around, now_us),
            *read_tempo(facts, around, now_us),
            *read_age(facts, around, now_us),
            *read_sameness(facts, around, now_us),
            *read_network(facts, around, now_us),
            *read_crowd(facts, around, now_us),
            *read_links(facts, around, now_us),
            *read_text(facts, around, now_us),
            *read_reports(facts, around, now_us),
            *read_challenge(facts, around, now_us),
            *read_fields(facts, around, now_us),
            *read_campaign(facts, around, now_us),
            *read_captions(facts, around, now_us),
            *read_style(facts, around, now_us),
        ]

    return read


def _read_of(family: Family, names: Collection[str]) -> ReadsFamily:
    wanted = {feature.name for feature in family.FEATURES if feature.name in names}
    if wanted:
        return tempo.read_cheap if family is tempo and wanted <= tempo.CHEAP else family.read
    unknown = (UNKNOWN,) * len(family.FEATURES)
    return lambda facts, around, now_us: unknown


def named(vector: Sequence[float]) -> dict[str, float]:
    """The vector's numbers by the names of the features."""
    return {feature.name: value for feature, value in zip(FEATURES, vector, strict=True)}


_read_all: Final = vector_reader(PLACE)
