"""Scores accounts from their states, without an event: for a new scorecard, on an operator's request, or because others
share what they showed.

It does no I/O. A state that cannot be read is skipped; the fold of its next event reports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import msgspec

from gate.core.score import Stamp
from gate.ports.scores import EncodedScore
from gate.records.score import with_bytes
from streams.core.crowd import Backfill, Crowd
from streams.core.facts import unpack
from streams.core.features import features, last_evidence_us
from streams.core.scorecard import Scorecard
from streams.core.signals import signals
from streams.pipeline.effects import Effects, Scores
from streams.pipeline.stamps import Stamps
from streams.pipeline.surroundings import surroundings

BACKFILLED_A_TURN = 1_000


def rescored(
    accounts: Iterable[str],
    states: Mapping[str, bytes],
    crowd: Crowd,
    scorecard: Scorecard,
    stamps: Stamps,
    next_offset: int,
    now_us: int,
    acts: bool = True,
) -> Effects:
    """New scores for the `accounts` that have a state, stamped with the partition's position before `next_offset`.

    So each is later than every earlier score of the account, and earlier than the score of its next event. Where the
    partition is far behind, the scores do not act (`acts`).
    """
    with_state = [account for account in accounts if account in states]
    stamps.learn(with_state)
    stamped = partial(stamps.stamp, offset=next_offset - 1)
    return Effects.of(next_offset, Scores(again(with_state, states, crowd, scorecard, stamped, now_us, acts)))


def backfilled(
    waiting: Backfill,
    states: Mapping[str, bytes],
    crowd: Crowd,
    scorecard: Scorecard,
    stamps: Stamps,
    next_offset: int,
    now_us: int,
    acts: bool = True,
) -> Effects:
    """New scores for accounts whose surroundings have changed, at most `BACKFILLED_A_TURN` of those that wait.

    They begin a new generation, since scores of the same position may exist: of the last events, or of the last turn.
    """
    stamps.begin_generation(now_us)
    accounts = waiting.take(stamps.partition, BACKFILLED_A_TURN)
    effects = rescored(accounts, states, crowd, scorecard, stamps, next_offset, now_us, acts)
    made = effects.scores
    return Effects.of(next_offset, Scores(made, backfilled=len(made), skipped=waiting.take_skipped()))


def again(
    accounts: Iterable[str],
    states: Mapping[str, bytes],
    crowd: Crowd,
    scorecard: Scorecard,
    stamped: Callable[[str], Stamp],
    now_us: int,
    acts: bool,
) -> list[EncodedScore]:
    """The scores that the states of `accounts` give now. Accounts without a state that can be read have none."""
    scores: list[EncodedScore] = []
    for account in accounts:
        try:
            facts = unpack(states[account])
        except (KeyError, msgspec.DecodeError):
            continue
        values = signals(features(facts, surroundings(crowd, facts)))
        score = scorecard.score(account, values, last_evidence_us(facts), now_us, stamped(account), acts)
        scores.append(with_bytes(score))
    return scores
