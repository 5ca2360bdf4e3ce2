"""The beats of an account: when it uploaded lately, with the parts of one album taken as one beat.

Uploads within two seconds of each other are one beat; so are the parts of one media group, which the fold sees to. The
last dozen beats are kept in the order of event time, so that an upload that arrives late counts where it belongs. They
are a list of milliseconds, the latest beat first: when it began, how long it lasted, and for each beat before it how
much earlier it began, and how long that one lasted. Uploads that fit among the kept beats give the same list in any
order.
"""

from __future__ import annotations

from itertools import pairwise

KEPT = 12
APART_MS = 2_000

Beats = list[int]


def count_beat(beats: Beats, at_ms: int) -> bool:
    """Count an upload, in place. False, and nothing is changed, where it is older than the kept beats."""
    if not beats:
        beats += (at_ms, 0)
        return True
    since_ms = at_ms - beats[0]
    if since_ms > beats[1] + APART_MS:
        beats[0:1] = [at_ms, 0, since_ms]
        del beats[2 * KEPT :]
        return True
    if since_ms >= 0:
        beats[1] = max(beats[1], since_ms)
        return True
    return _insert(beats, at_ms)


def gaps_ms(beats: Beats) -> list[int]:
    """From the beginning of each kept beat to that of the next, the latest first."""
    return beats[2::2]


def _insert(beats: Beats, at_ms: int) -> bool:
    spans: list[tuple[int, int]] = []
    begin = beats[0]
    for place in range(1, len(beats), 2):
        spans.append((begin, begin + beats[place]))
        if place + 1 < len(beats):
            begin -= beats[place + 1]
    if len(spans) == KEPT and at_ms < spans[-1][0] - APART_MS:
        return False
    merged: list[tuple[int, int]] = []
    for low, high in sorted([*spans, (at_ms, at_ms)], reverse=True):
        if merged and high + APART_MS >= merged[-1][0]:
            merged[-1] = (low, max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    beats[:] = [merged[0][0], merged[0][1] - merged[0][0]]
    for (after, _), (low, high) in pairwise(merged[:KEPT]):
        beats += (after - low, high - low)
    return True
