"""Scores accounts one at a time, for small batches. The scores equal those of `many` bit by bit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

from gate.core.score import Reason
from streams.core.features import PLACE
from streams.core.scorecard.scale import Scale
from streams.core.scorecard.term import AbuseKind, Term

MAX_REASONS: Final = 5
KINDS: Final = (AbuseKind.BOT, AbuseKind.SCAM, AbuseKind.BOTH)

Judged = tuple[float, float, float, tuple[Reason, ...]]
"""bot, scam, risk, and the reasons."""


_NUMBER_BITS: Final = 12
"""A key is a term's number less its points, these shifted by so many bits: the heaviest against the account is least."""

Hit = tuple[int, int, int, int, int]
"""What a bin gives: its points, the same or 0 where they speak for the account, family and kind by number, and the key."""
Bins = tuple[Hit | None, ...]
"""None where a bin gives no points."""


class OneByOne:
    """Reads the terms of a scorecard for one vector at a time. `caps` has the families in the order of their terms."""

    __slots__ = ("_caps", "_named", "_pairs", "_scale", "_singles", "_zeros")

    def __init__(self, terms: Sequence[Term], caps: Mapping[str, int], scale: Scale) -> None:
        families = list(caps)
        # the place of the first feature, whether the term says nothing where that is 0, its cuts, those of the second
        self._singles: list[tuple[int, bool, tuple[float, ...], Bins]] = []
        self._pairs: list[tuple[int, bool, tuple[float, ...], int, tuple[float, ...], int, Bins]] = []
        self._named: list[tuple[str, int, int]] = []
        for number, term in enumerate(terms):
            bins = _bins(number, term, families.index(term.family))
            cuts = [(*each, inf) for each in term.cuts]  # the last cut, infinity, is where an unknown value is
            place, second = PLACE[term.features[0]], PLACE[term.features[-1]]
            width = len(cuts[1]) + 1 if len(cuts) > 1 else 1
            at_zero = bisect_right(cuts[0], 0.0) * width
            is_quiet = not any(bins[at_zero : at_zero + width])
            if len(cuts) > 1:
                self._pairs.append((place, is_quiet, cuts[0], second, cuts[1], width, bins))
            else:
                self._singles.append((place, is_quiet, cuts[0], bins))
            self._named.append((term.name, place, second if len(cuts) > 1 else -1))
        self._caps = tuple(caps.values())
        self._zeros = [0] * len(self._caps)
        self._scale = scale

    def judge(self, vector: Sequence[float]) -> Judged:
        """The points of the terms for one vector."""
        families, kinds = self._zeros.copy(), [0, 0, 0]
        keys: list[int] = []
        for place, is_quiet, cuts, bins in self._singles:
            value = vector[place]
            if is_quiet and not value:  # most values are 0
                continue
            hit = bins[bisect_right(cuts, value)]
            if hit is not None:
                points, against, family, kind, key = hit
                families[family] += points
                kinds[kind] += against
                keys.append(key)
        for place, is_quiet, cuts, second, second_cuts, width, bins in self._pairs:
            value = vector[place]
            if is_quiet and not value:
                continue
            hit = bins[bisect_right(cuts, value) * width + bisect_right(second_cuts, vector[second])]
            if hit is not None:
                points, against, family, kind, key = hit
                families[family] += points
                kinds[kind] += against
                keys.append(key)
        total = 0
        for points, cap in zip(families, self._caps, strict=True):
            if points:
                total += points if -cap <= points <= cap else cap if points > 0 else -cap
        return *self._scale.split(total, *kinds), self._reasons(keys, vector) if keys else ()

    def _reasons(self, keys: list[int], vector: Sequence[float]) -> tuple[Reason, ...]:
        """The terms with the most points against the account, then, where there is room, the one with the most for it."""
        keys.sort()
        told = [key for key in keys[:MAX_REASONS] if key < 0]
        if len(told) < MAX_REASONS and keys[-1] >= 0:
            most = keys[-1] >> _NUMBER_BITS
            told.append(next(key for key in keys if key >> _NUMBER_BITS == most))
        named, point = self._named, self._scale.point
        reasons = []
        for key in told:
            name, place, second = named[key & (1 << _NUMBER_BITS) - 1]
            value = vector[place]
            other = vector[second] if second >= 0 else None
            reasons.append(Reason(
                name,
                None if value != value else value,
                -(key >> _NUMBER_BITS) * point,
                None if other != other else other,
            ))  # fmt: skip
        return tuple(reasons)


def _bins(number: int, term: Term, family: int) -> Bins:
    kind = KINDS.index(term.kind)
    return tuple(
        (points, max(0, points), family, kind, number - (points << _NUMBER_BITS)) if points else None
        for points in term.points
    )
