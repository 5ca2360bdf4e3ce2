"""Crowd: how many other accounts spread the same content, or link to the same host over and over."""

from __future__ import annotations

from math import log2

from gate.core.signal import Signal
from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.scorecard import Found
from streams.core.signals.age import freshness

CONTENT_ACCOUNTS = str(Signal.CROWD_CONTENT_ACCOUNTS)
LINK_ACCOUNTS = str(Signal.CROWD_LINK_ACCOUNTS)
PLAIN_WORTH = 0.1
"""What a shared host says that looks like any other, of an account that is not new."""


def read(state: Facts, at_us: int, around: Surroundings, found: Found) -> None:
    """`crowd.content_accounts` reaches 1 at 16 accounts, for a newborn account or one that goes on uploading: everybody
    passes on a picture once. `crowd.link_accounts` too, weighed by how often this account repeats its hosts, for a
    newborn account or hosts that look suspicious: half of a platform links to the same few big sites.
    """
    fresh = freshness(state, at_us) if state.created_us else 0.0
    if around.content_accounts > 2:
        worth = max(fresh, (state.uploads - 1.0) / (state.uploads + 1.0))
        if worth > 0.0:
            found.append((CONTENT_ACCOUNTS, worth * min(1.0, log2(around.content_accounts / 2.0) / 3.0)))
    if around.link_accounts > 2 and state.host_repeats:
        worth = PLAIN_WORTH + (1.0 - PLAIN_WORTH) * max(fresh, min(1.0, state.suspicion))
        share = state.host_repeats / state.uploads
        found.append((LINK_ACCOUNTS, share * worth * min(1.0, log2(around.link_accounts / 2.0) / 3.0)))
