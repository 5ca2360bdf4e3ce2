"""Folds the numbers of one caption into the account's facts of captions."""

from __future__ import annotations

from typing import Final

from streams.core.facts import CaptionFacts, Facts
from streams.core.models.marks import MARK_BYTES, MARKS, ODDS_STEPS, CaptionNumbers
from streams.core.rings import holds

MAX_MARKS: Final = 28
"""Marks that are remembered: those of fourteen captions or more."""
MAX_SKELETONS: Final = 4
LOW: Final = -ODDS_STEPS
HIGH: Final = ODDS_STEPS
"""Log odds below and above which a caption speaks for the account, or against it."""
_RING_BYTES: Final = MAX_MARKS * MARK_BYTES
_SKELETON_BYTES: Final = MAX_SKELETONS * MARK_BYTES


def fold_caption(facts: Facts, caption: CaptionNumbers) -> None:
    """Fold one caption of an upload that was let in, in place."""
    kept = facts.captions
    if kept is None:
        facts.captions = _first(caption)
        return
    (odds, marks, skeleton, chars, upper, digits, beyond, spaces, punctuation, emoji, mentions, tags, links, reply) = (
        caption
    )
    kept.count += 1
    if odds:
        kept.odds += odds
        kept.odds_squares += odds * odds
        if odds > HIGH:
            kept.high += 1
        elif odds < LOW:
            kept.low += 1
    if kept.marks.find(marks[:MARK_BYTES]) < 0 and kept.marks.find(marks[MARK_BYTES:]) < 0:  # most captions are new
        kept.marks = (kept.marks + marks)[-_RING_BYTES:]
    else:
        _fold_known_marks(kept, marks)
    if holds(kept.skeletons, skeleton):
        kept.skeleton_repeats += 1
    else:
        kept.skeletons = (kept.skeletons + skeleton)[-_SKELETON_BYTES:]
    kept.chars += chars
    kept.char_squares += chars * chars
    kept.spaces += spaces
    if upper:
        kept.upper += upper
    if digits:
        kept.digits += digits
    if beyond:
        kept.beyond += beyond
    if punctuation:
        kept.punctuation += punctuation
    if emoji:
        kept.emoji += emoji
    if mentions or tags or links or reply:
        kept.mentions += mentions
        kept.tags += tags
        kept.links += links
        kept.replies += reply


def _first(caption: CaptionNumbers) -> CaptionFacts:
    """What the first caption leaves behind: made at once, as half of all accounts have no other."""
    (odds, marks, skeleton, chars, upper, digits, beyond, spaces, punctuation, emoji, mentions, tags, links, reply) = (
        caption
    )
    return CaptionFacts(
        1, odds, odds * odds, 1 if odds < LOW else 0, 1 if odds > HIGH else 0, 0, 0, 0, chars, chars * chars, upper, digits,
        beyond, spaces, punctuation, emoji, mentions, tags, links, reply, marks, skeleton,
    )  # fmt: skip


def _fold_known_marks(kept: CaptionFacts, marks: bytes) -> None:
    ring = kept.marks
    fresh = b""
    hits = 0
    for at in range(0, len(marks), MARK_BYTES):
        mark = marks[at : at + MARK_BYTES]
        if holds(ring, mark):
            hits += 1
        else:
            fresh += mark
    if fresh:
        kept.marks = (ring + fresh)[-_RING_BYTES:]
    if hits:
        kept.near += hits
        if hits == MARKS:
            kept.nearly += 1
