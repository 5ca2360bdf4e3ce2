"""Features: the numbers that an account's facts and surroundings give, by family, and the vector of all of them."""

from streams.core.features.feature import UNKNOWN, Feature
from streams.core.features.places import recent, recent_of
from streams.core.features.times import last_evidence_us, reporters_lately
from streams.core.features.vector import (
    FAMILIES,
    FEATURES,
    PLACE,
    Features,
    ReadsVector,
    features,
    named,
    vector_of,
    vector_reader,
)

__all__ = [
    "FAMILIES",
    "FEATURES",
    "PLACE",
    "UNKNOWN",
    "Feature",
    "Features",
    "ReadsVector",
    "features",
    "last_evidence_us",
    "named",
    "recent",
    "recent_of",
    "reporters_lately",
    "vector_of",
    "vector_reader",
]
