"""An account's state: bounded, packed, folded from its events in their order and from nothing else.

What is kept are counts, decaying counters, small rings of hashes and keyed hashes of where the account came from; no
caption, link, address or device ever. Crowd facts stay out, so that state can be compared with a replay exactly.
A refused attempt only feeds one bounded counter that no signal reads: refusing must not feed what refuses.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from math import log
from zlib import crc32

import msgspec

from gate.core.event import Attempted, Completed, Event, Removed, Reported
from gate.core.pseudonym import network
from streams.core import links, text, weblinks
from streams.core.window import DAY_US, added, one_more

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


class State(msgspec.Struct, array_like=True, gc=False):
    """What is kept of one account. Times in µs since 1970, 0 for unknown; `digest` depends on every event's bytes.

    `minute`, `hour` and `day` count uploads with these half-lives as of `last_us`, `reports` and `removals` with a week
    as of `blamed_us`. `layout_squares` is the sum of the squares of `layouts`. New fields go to the end, so that older
    states read as if they had the default; any other change needs a new VERSION.
    """

    events: int = 0
    offset: int = -1
    digest: int = 0
    created_us: int = 0
    first_us: int = 0
    last_us: int = 0
    uploads: int = 0
    minute: float = 0.0
    hour: float = 0.0
    day: float = 0.0
    gaps: int = 0
    gap_mean: float = 0.0
    gap_variance: float = 0.0
    contents: bytes = b""
    templates: bytes = b""
    hosts: bytes = b""
    content_repeats: int = 0
    template_repeats: int = 0
    host_repeats: int = 0
    texts: int = 0
    layouts: list[int] = []
    layout_squares: int = 0
    mentions: int = 0
    spam: float = 0.0
    linked: int = 0
    suspicion: float = 0.0
    ip: int = 0
    device: int = 0
    content: int = 0
    host: int = 0
    completed: int = 0
    reports: float = 0.0
    removals: float = 0.0
    blamed_us: int = 0
    refused: int = 0


VERSION = 2
"""Of the packed layout, its first byte. A state of an older one is not read: its account starts anew."""
_VERSION = bytes((VERSION,))
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(State).decode
_any_layout = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def pack(state: State) -> bytes:
    """The state as it is kept."""
    return _VERSION + _pack(state)


def unpack(data: bytes | None) -> State:
    """The state in `data`, a fresh one for None. Raises msgspec.DecodeError for what `pack` did not write."""
    if data is None:
        return State()
    if data[:1] != _VERSION:
        raise msgspec.DecodeError(f"not a state of version {VERSION}")
    return _unpack(data[1:])


def version(data: bytes) -> int | None:
    """The version of the layout that `data` was packed in, None for what is no state of any; not looked into if ours."""
    if data[:1] == _VERSION:
        return VERSION
    first = data[0] if data else 0
    said = first if 1 < first < 0x80 else 1  # the first layout had no version and began as a list does
    try:
        _any_layout(data if said == 1 else data[1:])
    except msgspec.DecodeError:
        return None
    return said


def fold(state: State, event: Event, at_us: int, offset: int, value: bytes, salt: bytes) -> State:
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
    elif isinstance(event, Removed | Reported):
        _fold_blame(state, event, at_us)
    return state


def _fold_upload(state: State, event: Attempted, at_us: int, salt: bytes) -> None:
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


def _fold_gap(state: State, gap_us: int) -> None:
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


def _fold_text(state: State, caption: str) -> None:
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


def _fold_links(state: State, given: tuple[str, ...]) -> None:
    state.linked = linked = state.linked + 1
    worst = 0.0
    repeated = False
    for link in given[:MAX_LINKS]:
        name = weblinks.host(link)
        worst = max(worst, links.suspicion(name))
        state.host = item = crc32(name.encode()) or 1
        before = state.hosts
        state.hosts = ring = remembered(before, item)
        repeated |= ring is before
    state.host_repeats += repeated
    state.suspicion += (worst - state.suspicion) / min(linked, MEAN_OVER)


def _fold_blame(state: State, event: Removed | Reported, at_us: int) -> None:
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
