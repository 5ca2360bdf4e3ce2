"""The closed table of families: which are asked, and as of when.

An event costs microseconds and a score is made of every account a batch touched, so a family is asked only where the
state has what it reads.
"""

from __future__ import annotations

from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.scorecard import Found
from streams.core.signals import age, crowd, links, network, reports, sameness, tempo, text


def now_us(state: Facts) -> int:
    """The event time that an account's score stands for: that of its last upload, report or removal, µs."""
    return state.last_us if state.last_us > state.blamed_us else state.blamed_us


def read(state: Facts, around: Surroundings) -> Found:
    """Every signal above 0, each in (0, 1]."""
    found: Found = []
    at_us = now_us(state)
    if state.uploads:
        tempo.read(state, at_us, found)
        if state.created_us:
            age.read(state, at_us, found)
        if state.texts or state.content_repeats:
            sameness.read(state, found)
        if around.ip_accounts > 1 or around.device_accounts > 1:
            network.read(state, at_us, around, found)
        if around.content_accounts > 2 or around.link_accounts > 2:
            crowd.read(state, at_us, around, found)
        if state.linked:
            links.read(state, found)
        if state.spam > 0.0:
            text.read(state, found)
    if state.blamed_us:
        reports.read(state, at_us, found)
    return found
