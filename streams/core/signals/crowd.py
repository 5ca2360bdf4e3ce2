"""Crowd: how many other accounts spread the same content, or link to the same host over and over."""

from __future__ import annotations

from math import log2

from gate.core.signal import Signal
from streams.core.account import State
from streams.core.signals.surroundings import Found, Surroundings

CONTENT_ACCOUNTS = str(Signal.CROWD_CONTENT_ACCOUNTS)
LINK_ACCOUNTS = str(Signal.CROWD_LINK_ACCOUNTS)


def read(state: State, around: Surroundings, found: Found) -> None:
    """`crowd.content_accounts` reaches 1 at 16 accounts, and less for few uploads: everybody passes on a picture once.

    `crowd.link_accounts` too, weighed by how often this account repeats its hosts and how suspicious they look, for
    half of a platform links to the same few big sites.
    """
    if around.content_accounts > 2:
        seen = state.uploads / (state.uploads + 2.0)
        found.append((CONTENT_ACCOUNTS, seen * min(1.0, log2(around.content_accounts / 2.0) / 3.0)))
    if around.link_accounts > 2 and state.host_repeats:
        share = state.host_repeats / state.uploads * (0.3 + 0.7 * min(1.0, state.suspicion))
        found.append((LINK_ACCOUNTS, min(1.0, share * log2(around.link_accounts / 2.0) / 3.0)))
