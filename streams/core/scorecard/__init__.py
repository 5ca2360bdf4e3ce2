"""The scorecard: terms over features → a score with its reasons, for one account or for a batch."""

from streams.core.scorecard.card import ALONE_AT_MOST, Scorecard, made_of, without
from streams.core.scorecard.many import Matrix, matrix_of
from streams.core.scorecard.scale import log_odds_of, probability
from streams.core.scorecard.term import UNIT, AbuseKind, Monotone, Speaks, Term, faults

__all__ = [
    "ALONE_AT_MOST",
    "UNIT",
    "AbuseKind",
    "Matrix",
    "Monotone",
    "Scorecard",
    "Speaks",
    "Term",
    "faults",
    "log_odds_of",
    "made_of",
    "matrix_of",
    "probability",
    "without",
]
