"""Scores accounts from their states, without an event: for a new scorecard, or on an operator's request.

It does no I/O. A state that cannot be read is skipped; the fold of its next event reports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from gate.ports.scores import EncodedScore
from gate.records.score import with_bytes
from streams.core.crowd import Crowd
from streams.core.facts import unpack
from streams.core.features import features, last_evidence_us
from streams.core.scorecard import Scorecard
from streams.pipeline.effects import Effects, Scores
from streams.pipeline.stamps import Stamps
from streams.pipeline.step import surroundings


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
    scores: list[EncodedScore] = []
    for account in with_state:
        try:
            facts = unpack(states[account])
        except msgspec.DecodeError:
            continue
        vector = features(facts, surroundings(crowd, facts))
        stamp = stamps.stamp(account, next_offset - 1)
        scores.append(with_bytes(scorecard.score(account, vector, last_evidence_us(facts), now_us, stamp, acts)))
    return Effects.of(next_offset, Scores(scores))
