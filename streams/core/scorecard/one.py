"""Scores accounts one at a time, for small batches. The scores equal those of `many` bit by bit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

from gate.core.score import Reason
from streams.core.features import PLACE
from streams.core.scorecard.scale import Scale
from streams.core.scorecard.term import AbuseKind, Term

MAX_REASONS: Final = 5
KINDS: Final = (AbuseKind.BOT, AbuseKind.SCAM, AbuseKind.BOTH)

Judged = tuple[float, float, float, tuple[Reason, ...]]
"""bot, scam, risk, and the reasons."""


class Ready(NamedTuple):
    """A term, ready to be read. `is_quiet` is true if it says nothing where its first feature is 0.

    `second` is the place of a second feature, `width` the number of its bins.
    """

    number: int
    place: int
    is_quiet: bool
    cuts: tuple[float, ...]
    second: int
    second_cuts: tuple[float, ...]
    width: int
    points: tuple[int, ...]
    family: int
    kind: int


class OneByOne:
    """Reads the terms of a scorecard for one vector at a time. `caps` has the families in the order of their terms."""

    __slots__ = ("_caps", "_named", "_pairs", "_scale", "_singles", "_zeros")

    def __init__(self, terms: Sequence[Term], caps: Mapping[str, int], scale: Scale) -> None:
        ready = [_ready(number, term, list(caps).index(term.family)) for number, term in enumerate(terms)]
        self._singles = [(n, p, q, c, t, f, k) for n, p, q, c, _, _, width, t, f, k in ready if not width]
        self._pairs = [term for term in ready if term.width]
        self._named = [(terms[term.number].name, term.place, term.second if term.width else -1) for term in ready]
        self._caps = tuple(caps.values())
        self._zeros = [0] * len(self._caps)
        self._scale = scale

    def judge(self, vector: Sequence[float]) -> Judged:
        """What the terms say of one vector."""
        families, kinds = self._zeros.copy(), [0, 0, 0]
        said: list[tuple[int, int]] = []
        for number, place, is_quiet, cuts, table, family, kind in self._singles:
            value = vector[place]
            if is_quiet and not value:  # most values are 0
                continue
            points = table[bisect_right(cuts, value)]
            if points:
                families[family] += points
                said.append((-points, number))
                if points > 0:
                    kinds[kind] += points
        for number, place, is_quiet, cuts, second, second_cuts, width, table, family, kind in self._pairs:
            value = vector[place]
            if is_quiet and not value:
                continue
            points = table[bisect_right(cuts, value) * width + bisect_right(second_cuts, vector[second])]
            if points:
                families[family] += points
                said.append((-points, number))
                if points > 0:
                    kinds[kind] += points
        total = 0
        for points, cap in zip(families, self._caps, strict=True):
            total += points if -cap <= points <= cap else cap if points > 0 else -cap
        return *self._scale.split(total, *kinds), self._reasons(said, vector) if said else ()

    def _reasons(self, said: list[tuple[int, int]], vector: Sequence[float]) -> tuple[Reason, ...]:
        """The terms with the most points against the account, then, where there is room, the one with the most for it."""
        said.sort()
        told = [reason for reason in said[:MAX_REASONS] if reason[0] < 0]
        if len(told) < MAX_REASONS and said[-1][0] > 0:
            most = said[-1][0]
            told.append(min(reason for reason in said if reason[0] == most))
        named, point = self._named, self._scale.point
        reasons = []
        for negative, number in told:
            name, place, second = named[number]
            value = vector[place]
            other = vector[second] if second >= 0 else None
            reasons.append(Reason(
                name,
                None if value != value else value,
                -negative * point,
                None if other is None or other != other else other,
            ))  # fmt: skip
        return tuple(reasons)


def _ready(number: int, term: Term, family: int) -> Ready:
    """A term with the places of its features; the last cut, infinity, is where an unknown value is."""
    cuts = (*term.cuts[0], inf)
    second_cuts = (*term.cuts[1], inf) if len(term.cuts) > 1 else ()
    width = len(second_cuts) + 1 if second_cuts else 0
    at_zero, wide = bisect_right(cuts, 0.0), max(1, width)
    return Ready(
        number,
        PLACE[term.features[0]],
        not any(term.points[at_zero * wide : (at_zero + 1) * wide]),
        cuts,
        PLACE[term.features[-1]],
        second_cuts,
        width,
        term.points,
        family,
        KINDS.index(term.kind),
    )
