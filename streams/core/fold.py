"""Folding: one event of an account into its facts."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from math import log
from zlib import crc32

from gate.core.duration import DAY_US
from gate.core.event import Attempted, Completed, Event, Removed, Reported
from gate.core.pseudonym import network
from streams.core import links, text
from streams.core.facts import Facts
from streams.core.window import added, one_more

RING_BYTES = 12 * 4
"""How much is remembered of contents, templates and hosts: the last dozen each, as 32-bit hashes side by side."""
MAX_REFUSED = 1_000_000
MAX_LINKS = 20
"""Links of one upload that are looked at."""
GAP_MEMORY = 0.15
"""Weight of the newest gap in the running mean and variance of log gaps."""
LEAST_GAP_US = 100_000
MEAN_OVER = 20
"""Captions and linked uploads over which a running mean goes."""
REFUSALS = frozenset(("throttle", "challenge", "deny", "paused"))


def fold(state: Facts, event: Event, at_us: int, offset: int, value: bytes, salt: bytes) -> Facts:
    """Fold one event of the account into `state`, in place, and return it; `uploads` grows if it was one let through.

    `value` is the record's bytes, which only the order-sensitive digest depends on; `salt` (64 bytes at most) keys the
    hashes.
    """
    state.events += 1
    state.offset = offset
    state.digest = crc32(value, state.digest)
    if not state.created_us and event.account.created_at is not None:
        state.created_us = round(event.account.created_at.timestamp() * 1_000_000)
    if isinstance(event, Attempted):
        if event.decision is None or event.decision not in REFUSALS:
            _fold_upload(state, event, at_us, salt)
        elif state.refused < MAX_REFUSED:
            state.refused += 1
    elif isinstance(event, Completed):
        state.completed += 1
    else:
        _fold_blame(state, event, at_us)
    return state


def _fold_upload(state: Facts, event: Attempted, at_us: int, salt: bytes) -> None:
    if state.uploads:
        elapsed_us = at_us - state.last_us
        if elapsed_us > 0:
            state.last_us = at_us
        state.minute, state.hour, state.day = one_more(state.minute, state.hour, state.day, elapsed_us)
        _fold_gap(state, abs(elapsed_us))
    else:
        state.first_us = state.last_us = at_us
        state.minute = state.hour = state.day = 1.0
    state.uploads += 1
    if event.ip is not None:
        state.ip = ip_hash(salt, event.ip)
    if event.device is not None:
        state.device = hash64(salt, b"device", event.device)
    if event.media is not None:
        content = event.media.phash or event.media.sha256
        if content:
            state.content = item = crc32(content.encode()) or 1
            before = state.contents
            state.contents = ring = remembered(before, item)
            if ring is before:
                state.content_repeats += 1
    if event.text:
        _fold_text(state, event.text)
    if event.links:
        _fold_links(state, event.links)


def _fold_gap(state: Facts, gap_us: int) -> None:
    """Running mean and variance of log gaps: a metronome has hardly any variance, people have a lot."""
    value = log((gap_us if gap_us > LEAST_GAP_US else LEAST_GAP_US) / 1_000_000)
    state.gaps = gaps = state.gaps + 1
    if gaps == 1:
        state.gap_mean = value
        return
    weight = GAP_MEMORY if gaps > 6 else 1.0 / gaps
    delta = value - state.gap_mean
    state.gap_mean += weight * delta
    state.gap_variance = (1.0 - weight) * (state.gap_variance + weight * delta * delta)


def _fold_text(state: Facts, caption: str) -> None:
    template, layout, spam = text.read(caption)
    before = state.templates
    state.templates = ring = remembered(before, template)
    if ring is before:
        state.template_repeats += 1
    layouts = state.layouts
    if not layouts:
        layouts = state.layouts = [0] * text.LAYOUTS
    state.layout_squares += 2 * layouts[layout] + 1
    layouts[layout] += 1
    if layout & text.MENTION:
        state.mentions += 1
    state.texts = texts = state.texts + 1
    state.spam += (spam - state.spam) / (texts if texts < MEAN_OVER else MEAN_OVER)


def _fold_links(state: Facts, given: tuple[str, ...]) -> None:
    state.linked = linked = state.linked + 1
    worst = 0.0
    repeated = False
    for link in given[:MAX_LINKS]:
        name = links.host(link)
        worst = max(worst, links.suspicion(name))
        state.host = item = crc32(name.encode()) or 1
        before = state.hosts
        state.hosts = ring = remembered(before, item)
        repeated |= ring is before
    state.host_repeats += repeated
    state.suspicion += (worst - state.suspicion) / min(linked, MEAN_OVER)


def _fold_blame(state: Facts, event: Removed | Reported, at_us: int) -> None:
    reported = removed = 0.0
    if isinstance(event, Reported):
        reported = 1.0
    elif event.by != "owner":
        removed = 1.0
    state.reports = added(state.reports, state.blamed_us, at_us, 7 * DAY_US, reported)
    state.removals = added(state.removals, state.blamed_us, at_us, 7 * DAY_US, removed)
    if at_us > state.blamed_us:
        state.blamed_us = at_us


def remembered(ring: bytes, item: int) -> bytes:
    """The ring with `item` in it, in place of the oldest; the same object where it was in it already."""
    mark = item.to_bytes(4, "little")
    if mark in ring:
        at = ring.find(mark)
        while at > 0 and at % 4:  # across two neighbours, which is nobody's hash
            at = ring.find(mark, at + 1)
        if at >= 0:
            return ring
    return (ring + mark)[-RING_BYTES:]


@lru_cache(maxsize=1 << 16)
def hash64(salt: bytes, kind: bytes, value: str) -> int:
    """A keyed 64-bit hash, never 0, that stands for `value`; a number, as states hold many."""
    return _keyed(salt, kind, value)


@lru_cache(maxsize=1 << 16)
def ip_hash(salt: bytes, ip: str) -> int:
    """The keyed hash of the network an IP is counted under; what is no address stands for itself."""
    try:
        return _keyed(salt, b"ip", network(ip))
    except ValueError:
        return _keyed(salt, b"ip", ip)


def _keyed(salt: bytes, kind: bytes, value: str) -> int:
    return int.from_bytes(blake2b(value.encode(), digest_size=8, key=salt, person=kind).digest(), "big") or 1
