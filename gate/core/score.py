"""How suspicious an account is: bot, scam and their combination risk, each in [0, 1], with what carried them.

Which of two scores of an account is kept depends on their stamps alone, so that order of arrival, repetition and late
writers cannot matter. Stamps are ordered like this:

- Of two epochs the one with the higher generation is later. Every partition begins an epoch with a generation above all
  that it had, and a generation is never below the wall clock in ms when it was made, so this is the later topic.
- Within an epoch the account's home comes first: the partition that the account's key belongs to. `partitions` is the
  largest number of partitions that the topic has had under which the key belongs to the stamp's partition, and 0 where
  it never did. So a score follows its account when partitions are added, and a score made of events that somebody wrote
  to a foreign partition never replaces one from home. Of two foreign partitions the one with the higher number wins.
- Within a partition the later offset comes first: it knows more events.
- At the same offset the higher generation comes first: it was made by a newer scorecard, from a state that was built
  anew, or because somebody requested all scores again.

Within an epoch this is the order of tuples (partitions, partition, offset, generation), so it is total. Stamps of
releases before there were generations have generation 0, lose against all others, and replace each other as they did:
a higher offset within an epoch, and any other epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log
from typing import Final

import msgspec

SUREST: Final = 1e-6
"""A risk closer than this to 0 or to 1 decays as if it were that far away: certainty has no finite log odds."""


def risk_at(risk: float, at_us: int, half_life_us: int, base: float, now_us: int) -> float:
    """The risk that a score says at `now_us`, if it was `risk` at `at_us`.

    The evidence is what the log odds of `risk` have above those of `base`, the risk of an account without evidence. It
    halves with every `half_life_us`; 0 means that it does not decay. A risk at or below the base stays, as does one
    that is not in the past. The Redis script computes the same.
    """
    age_us = now_us - at_us
    if half_life_us <= 0 or age_us <= 0 or risk <= base:
        return risk
    low, high = _log_odds(base), _log_odds(risk)
    decayed: float = low + (high - low) * 2.0 ** -(age_us / half_life_us)
    return min(risk, 1.0 / (1.0 + exp(-decayed)))


def _log_odds(risk: float) -> float:
    bounded = min(max(risk, SUREST), 1.0 - SUREST)
    return log(bounded / (1.0 - bounded))


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One signal's part in a score: a term of the scorecard, the value it read, and the log odds it gave.

    `value` is None where the feature was not known. `second` is the value of the second feature of a signal that reads
    two, if known. `weight` is above 0 where the signal speaks against the account.
    """

    signal: str
    value: float | None
    weight: float
    second: float | None = None


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """Which state of the stream a score follows from; the module says which of two stamps wins.

    `epoch` names the topic's incarnation (cluster and topic id), `offset` the event folded last, `partition` where that
    event stood, `partitions` says whether that is the account's home. `generation` grows with every change of what
    makes scores; 0 is that of releases that knew none.
    """

    epoch: str
    offset: int
    partition: int = 0
    partitions: int = 0
    generation: int = 0


def replaces(offered: Stamp, known: Stamp) -> bool:
    """Whether a score with the stamp `offered` replaces one with `known`. No stamp replaces itself."""
    if offered.generation == 0 or known.generation == 0:
        if offered.generation != known.generation:
            return known.generation == 0
        return offered.epoch != known.epoch or offered.offset > known.offset
    if offered.epoch != known.epoch:
        return (offered.generation, offered.epoch) > (known.generation, known.epoch)
    return _within_epoch(offered) > _within_epoch(known)


def _within_epoch(stamp: Stamp) -> tuple[int, int, int, int]:
    return stamp.partitions, stamp.partition, stamp.offset, stamp.generation


class ShadowScore(msgspec.Struct, frozen=True, gc=False):
    """What models in shadow say of the account: shown beside the score, never read by a decision."""

    bot: float
    scam: float
    risk: float
    scorecard: str
    models: str = ""


class Score(msgspec.Struct, frozen=True, gc=False):
    """An account's score. `at_us` is event time, `scored_at_us` the wall clock, both µs since 1970.

    The risk decays towards `base`, that of an account without evidence, by half with every `half_life_us` (`risk_at`);
    0 means that it does not decay. A score that does not act was made while the stream was far behind: it is shown, and
    refuses nothing. `extra` holds fields of a newer release as JSON by name, which are written again. `models` is the hash
    of the models that the features came from, empty where there were none; `shadow` what models in shadow say.
    """

    account: str
    bot: float
    scam: float
    risk: float
    reasons: tuple[Reason, ...]
    at_us: int
    scored_at_us: int
    stamp: Stamp
    scorecard: str
    extra: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    half_life_us: int = 0
    base: float = 0.0
    acts: bool = True
    models: str = ""
    shadow: ShadowScore | None = None
