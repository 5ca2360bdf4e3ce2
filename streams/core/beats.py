"""The beats of an account: the times of its recent uploads, where the parts of one album are one beat.

Uploads within two seconds of each other are one beat. The parts of one media group are one beat too, which `fold`
ensures. The last dozen beats are kept in the order of event time, so that a late upload counts at its own time. They
are a list of milliseconds, the latest beat first: its start and its length, then for each earlier beat the time from its
start to the start of the next one, and its length. Uploads that fit among the kept beats give the same list in any order.
"""

from __future__ import annotations

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
        if since_ms > beats[1]:
            beats[1] = since_ms
        return True
    return _insert(beats, at_ms)


def gaps_ms(beats: Beats) -> list[int]:
    """The ms from the start of each kept beat to the start of the next, the latest first."""
    return beats[2::2]


def _insert(beats: Beats, at_ms: int) -> bool:
    """Count an upload from before the latest beat; it falls between an earlier beat and a later one, or before all."""
    size, place = len(beats), 2
    later = beats[0]
    while place < size and at_ms < later - beats[place]:
        later -= beats[place]
        place += 2
    before_ms = later - at_ms
    is_with_later = before_ms <= APART_MS
    if place < size:
        since_ms = beats[place] - before_ms
        is_with_earlier = since_ms <= beats[place + 1] + APART_MS
    elif size == 2 * KEPT and not is_with_later:
        return False
    else:
        is_with_earlier = False
        since_ms = 0
    if is_with_earlier and is_with_later:  # the upload joins both into one
        length = beats[place] + beats[place - 1]
        beats[place - 2] += beats[place] if place > 2 else -beats[place]
        beats[place - 1 : place + 2] = [length]
    elif is_with_later:
        beats[place - 2] += before_ms if place > 2 else -before_ms
        beats[place - 1] += before_ms
        if place < size:
            beats[place] = since_ms
    elif is_with_earlier:
        beats[place + 1] = max(beats[place + 1], since_ms)
    elif place < size:
        beats[place : place + 1] = [before_ms, 0, since_ms]
        del beats[2 * KEPT :]
    else:
        beats += (before_ms, 0)
    return True
