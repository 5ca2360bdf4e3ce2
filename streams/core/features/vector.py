"""The complete, ordered vector of named features that an account's facts and surroundings give, zeros included.

Each family of features has a file, which lists what its numbers mean and reads them. A scorecard weighs features by
their names; it caps the evidence of a family. A vector is a tuple of floats in the order of `FEATURES`. A feature is
added in its family's file; a family also has a line in
`_FAMILY_FILES` and in `vector_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

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
from streams.core.features.feature import Feature

_FAMILY_FILES: Final = (
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
    """The same numbers without their names, at less cost. The families stand in the order of `_FAMILY_FILES`."""
    now_us = facts.latest_us
    return [  # each call has a place of its own, which the interpreter makes quicker than a loop over them
        *history.read(facts, around, now_us),
        *tempo.read(facts, around, now_us),
        *age.read(facts, around, now_us),
        *sameness.read(facts, around, now_us),
        *network.read(facts, around, now_us),
        *crowd.read(facts, around, now_us),
        *links.read(facts, around, now_us),
        *text.read(facts, around, now_us),
        *reports.read(facts, around, now_us),
        *challenge.read(facts, around, now_us),
        *fields.read(facts, around, now_us),
        *campaign.read(facts, around, now_us),
        *captions.read(facts, around, now_us),
        *style.read(facts, around, now_us),
    ]


def named(vector: Sequence[float]) -> dict[str, float]:
    """The vector's numbers by the names of the features."""
    return {feature.name: value for feature, value in zip(FEATURES, vector, strict=True)}
