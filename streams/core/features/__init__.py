"""Features: the numbers that an account's facts and surroundings give, by family, and the vector of all of them."""

from streams.core.features.fact_features import FactColumns, FactFeatures, Located
from streams.core.features.feature import UNKNOWN, Feature
from streams.core.features.feature_columns import FeatureColumns, packed_rows
from streams.core.features.places import recent, recent_of
from streams.core.features.times import last_evidence_us, reporters_lately
from streams.core.features.vector import (
    FAMILIES,
    FEATURES,
    PLACE,
    Features,
    VectorReader,
    features,
    named,
    vector_of,
)

__all__ = [
    "FAMILIES",
    "FEATURES",
    "PLACE",
    "UNKNOWN",
    "FactColumns",
    "FactFeatures",
    "Feature",
    "FeatureColumns",
    "Features",
    "Located",
    "VectorReader",
    "features",
    "last_evidence_us",
    "named",
    "packed_rows",
    "recent",
    "recent_of",
    "reporters_lately",
    "vector_of",
]
