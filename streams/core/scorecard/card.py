"""A scorecard: terms, how their sum becomes a probability, and how much a family of evidence may say.

    points of a family   sum of its terms' points, between -cap and +cap of the family
    z                    sum over the families
    start                offset - logit(training share) + logit(base rate)
    log odds of risk     slope * z + start

`risk` is the probability that an account is a bot or a scam, from one sum, as most evidence speaks for both. Nothing in
it is counted twice. A family's cap follows from `alone_at_most`: a family that says all it may lifts neither an account
of the base rate nor one without evidence above that risk.

`bot` and `scam` split the risk by the evidence: let P be the log odds of all points above 0 of a kind of terms, and
`b = 1 + P(bot) + P(both)`, `s = 1 + P(scam) + P(both)`; then `bot = risk * b / max(b, s)` and `scam = risk * s / max(b, s)`.
So the kind with more evidence has the whole risk, the other one a part of it, and bot, scam <= risk <= bot + scam.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from types import MappingProxyType
from typing import Final

from gate.core.score import Score, ShadowScore, Stamp
from streams.core.features import FeatureColumns, VectorReader
from streams.core.scorecard.many import Batched, Matrix
from streams.core.scorecard.one import Judged, OneByOne
from streams.core.scorecard.scale import Scale, log_odds_of, probability
from streams.core.scorecard.term import UNIT, Term

ALONE_AT_MOST: Final = 0.5
FEW: Final = 10
"""Up to so many vectors are faster read one by one."""
_NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Made by `made_of`. `caps` has the cap of every family of the terms in points; `hash` names the whole in scores.

    `lower_caps` has those that the file states, in log odds. `terms` are ordered by family and name. Evidence against
    an account halves with every `half_life_us` in which the account does nothing; 0: it does not halve. `base` is the
    risk of an account without evidence. `models` is the hash of the models that the features come from; a scorecard in
    `shadow` is summed beside this one, so that both can be compared.
    """

    hash: str
    terms: tuple[Term, ...]
    base_rate: float
    training_share: float
    slope: float
    offset: float
    alone_at_most: float
    lower_caps: Mapping[str, float]
    half_life_us: int
    start: float
    caps: Mapping[str, int]
    base: float
    models: str = ""
    shadow: Scorecard | None = field(default=None, repr=False, compare=False)
    read: VectorReader = field(init=False, repr=False, compare=False)
    """Reads the vector of an account as far as the terms look at it."""
    scale: Scale = field(init=False, repr=False, compare=False)
    _one: OneByOne = field(init=False, repr=False, compare=False)
    _many: Batched = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        scale = Scale(self.start, self.slope / UNIT)
        cards = (self,) if self.shadow is None else (self, self.shadow)
        names = {feature for card in cards for term in card.terms for feature in term.features}
        object.__setattr__(self, "read", VectorReader(names))
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "_one", OneByOne(self.terms, self.caps, scale))
        object.__setattr__(self, "_many", Batched(self.terms, self.caps, scale))

    def score(
        self, account: str, vector: Sequence[float], at_us: int, scored_at_us: int, stamp: Stamp, acts: bool = True
    ) -> Score:
        """The score of an account with this vector of features. One that does not act refuses nothing."""
        return next(self.scores((account,), (vector,), (at_us,), scored_at_us, (stamp,), acts))

    def scores(
        self,
        accounts: Sequence[str],
        vectors: Iterable[Sequence[float]] | FeatureColumns,
        at_us: Iterable[int],
        scored_at_us: int,
        stamps: Iterable[Stamp],
        acts: bool = True,
    ) -> Iterator[Score]:
        """The scores of many accounts, equal bit by bit to those of `score`.

        They come one after the other, so that each can be encoded while the processor's cache holds it. Of many vectors
        each is read once and let go. Times and stamps are taken as scores are made.
        """
        shadows: Sequence[ShadowScore | None] = [None] * len(accounts)
        if self.shadow is not None:
            vectors = vectors if isinstance(vectors, FeatureColumns) else list(vectors)
            shadows = self._shadows(self.shadow, vectors, len(accounts))
        hash_, half_life_us, base, models = self.hash, self.half_life_us, self.base, self.models
        for account, (bot, scam, risk, reasons), at, stamp, shadow in zip(
            accounts, self._judged(vectors, len(accounts)), at_us, stamps, shadows, strict=True
        ):
            yield Score(
                account, bot, scam, risk, reasons, at, scored_at_us, stamp, hash_, _NOTHING, half_life_us, base, acts,
                models, shadow,
            )  # fmt: skip

    def _judged(self, vectors: Iterable[Sequence[float]] | FeatureColumns, count: int) -> Iterable[Judged]:
        if isinstance(vectors, FeatureColumns) or count > FEW:
            return self._many.judge(vectors)
        return map(self._one.judge, vectors)

    @staticmethod
    def _shadows(
        other: Scorecard, vectors: Sequence[Sequence[float]] | FeatureColumns, count: int
    ) -> list[ShadowScore | None]:
        judged = other._judged(vectors, count)
        return [ShadowScore(bot, scam, risk, other.hash, other.models) for bot, scam, risk, _ in judged]

    def log_odds(self, matrix: Matrix) -> Matrix:
        """The log odds of each account's risk. `matrix` is accounts by features, in the order of FEATURES."""
        return self._many.totals(self._many.points(matrix)) * self.scale.point + self.scale.start

    def contributions(self, matrix: Matrix) -> Matrix:
        """Accounts by terms: the log odds that each term gives, before families are capped."""
        return self._many.points(matrix).T * self.scale.point

    def most_alone(self, family: str) -> float:
        """The log odds that a family adds or takes away at most."""
        return self.caps[family] * self.scale.point


def made_of(
    terms: Sequence[Term],
    *,
    base_rate: float,
    training_share: float,
    slope: float = 1.0,
    offset: float = 0.0,
    alone_at_most: float = ALONE_AT_MOST,
    caps: Mapping[str, float] | None = None,
    half_life_us: int = 0,
) -> Scorecard:
    """The scorecard with these terms. `caps`, in log odds, may lower the cap that follows from `alone_at_most`.

    Raises ValueError if that cap is 0 or less.
    """
    start = offset - log_odds_of(training_share) + log_odds_of(base_rate)
    highest = max(start, log_odds_of(base_rate))
    most = log_odds_of(alone_at_most) - highest
    if most <= 0.0:
        raise ValueError(
            f"an account without evidence has a risk of {probability(highest):.3f}, which is not below {alone_at_most:g}"
        )
    lower = dict(sorted((caps or {}).items()))
    ordered = tuple(sorted(terms, key=lambda term: (term.family, term.name)))
    families = dict.fromkeys(term.family for term in ordered)
    in_points = {f: _cap(min(most, lower.get(f, most)), slope, highest, alone_at_most) for f in families}
    what = [[*map(_plain, ordered)], base_rate, training_share, slope, offset, alone_at_most, lower, half_life_us]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
    return Scorecard(
        digest, ordered, base_rate, training_share, slope, offset, alone_at_most, lower, half_life_us, start, in_points,
        probability(start),
    )  # fmt: skip


def without(card: Scorecard, names: Collection[str]) -> Scorecard:
    """The scorecard without the terms of these families and features."""
    kept = [term for term in card.terms if term.family not in names and not set(term.features) & set(names)]
    families = {term.family for term in kept}
    return made_of(
        kept,
        base_rate=card.base_rate,
        training_share=card.training_share,
        slope=card.slope,
        offset=card.offset,
        alone_at_most=card.alone_at_most,
        caps={family: cap for family, cap in card.lower_caps.items() if family in families},
        half_life_us=card.half_life_us,
    )


def _cap(most: float, slope: float, highest: float, alone_at_most: float) -> int:
    """The largest cap in points by which `most` and, as a risk is computed, `alone_at_most` are kept."""
    cap = floor(UNIT * most / slope)
    while cap > 0 and probability(cap * (slope / UNIT) + highest) > alone_at_most:
        cap -= 1
    return max(0, cap)


def _plain(term: Term) -> list[object]:
    return [term.features, term.family, term.cuts, term.points, term.kind, term.speaks, term.monotone]
