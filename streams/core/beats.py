"""The beats of an account: the times of its recent uploads, where the parts of one album are one beat.

Uploads within two seconds of each other are one beat. The parts of one media group are one beat too, which `fold`
ensures. The last dozen beats are kept in the order of event time, so that a late upload counts at its own time. They
are a list of milliseconds, the latest beat first: its begin and its length, then for each earlier beat the distance of
its begin and its length. Uploads that fit among the kept beats give the same list in any order.
"""

from __future__ import annotations

from itertools import pairwise

KEPT = 12
APART_MS = 2_000

Beats = list[int]


def count_beat(beats: Beats, at_ms: int) -> bool:
    """Count an upload, in place. Returns False without a change if it is older than the kept beats."""
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
    """The ms from the begin of each kept beat to the begin of the next, the latest first."""
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
