"""Crowd: how many other accounts spread the same content, or link to the same host over and over."""

from __future__ import annotations

from collections.abc import Iterator
from math import log2

from gate.core.signal import Signal
from streams.core.account import State
from streams.core.signals.surroundings import Surroundings


def read(state: State, around: Surroundings) -> Iterator[tuple[Signal, float]]:
    """`crowd.content_accounts` reaches 1 at 16 accounts. `crowd.link_accounts` too, weighed by how often this account
    repeats its hosts, for half of a platform links to the same few big sites."""
    if around.content_accounts > 2:
        yield Signal.CROWD_CONTENT_ACCOUNTS, min(1.0, log2(around.content_accounts / 2.0) / 3.0)
    if around.link_accounts > 2 and state.host_repeats:
        share = state.host_repeats / state.uploads
        yield Signal.CROWD_LINK_ACCOUNTS, min(1.0, share * log2(around.link_accounts / 2.0) / 3.0)
