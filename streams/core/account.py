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
from streams.core import links, text
from streams.core.window import DAY_US, HOUR_US, MINUTE_US, added

RING = 12
"""How many of the last contents, templates and hosts are remembered, as 32-bit hashes."""
MAX_REFUSED = 1_000_000
MAX_LINKS = 20
GAP_MEMORY = 0.15
"""Weight of the newest gap in the running mean and variance of log gaps."""
REFUSALS = frozenset(("throttle", "challenge", "deny", "paused"))


class State(msgspec.Struct, array_like=True):
    """What is kept of one account. Times in µs since 1970, 0 for unknown; `digest` depends on every event's bytes."""

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
    contents: list[int] = []
    templates: list[int] = []
    hosts: list[int] = []
    content_repeats: int = 0
    template_repeats: int = 0
    host_repeats: int = 0
    texts: int = 0
    layouts: list[int] = []
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


_unpack = msgspec.msgpack.Decoder(State).decode
pack = msgspec.msgpack.Encoder().encode


def unpack(data: bytes | None) -> State:
    """The state in `data`, a fresh one for None. Raises msgspec.ValidationError for what `pack` did not write."""
    return State() if data is None else _unpack(data)


@lru_cache(maxsize=1 << 16)
def hash64(salt: bytes, kind: bytes, value: str) -> int:
    """A keyed 64-bit hash, never 0, that stands for `value`."""
    return int.from_bytes(blake2b(value.encode(), digest_size=8, key=salt, person=kind).digest(), "big") or 1


def fold(state: State, event: Event, at_us: int, offset: int, value: bytes, salt: bytes) -> State:
    """Fold one event of the account into `state`, in place, and return it.

    `value` is the record's bytes, which only the order-sensitive digest depends on; `salt` keys the hashes.
    """
    state.events += 1
    state.offset = offset
    state.digest = crc32(value, state.digest)
    created = event.account.created_at
    if created is not None and not state.created_us:
        state.created_us = round(created.timestamp() * 1_000_000)
    if isinstance(event, Attempted):
        if event.decision in REFUSALS:
            state.refused = min(MAX_REFUSED, state.refused + 1)
        else:
            _fold_upload(state, event, at_us, salt)
    elif isinstance(event, Completed):
        state.completed += 1
    else:
        _fold_blame(state, event, at_us)
    return state


def _fold_upload(state: State, event: Attempted, at_us: int, salt: bytes) -> None:
    last = state.last_us
    if state.uploads == 0:
        state.first_us = last = at_us
    else:
        _fold_gap(state, abs(at_us - last))
    state.uploads += 1
    state.minute = added(state.minute, last, at_us, MINUTE_US)
    state.hour = added(state.hour, last, at_us, HOUR_US)
    state.day = added(state.day, last, at_us, DAY_US)
    state.last_us = max(last, at_us)
    if event.ip is not None:
        state.ip = ip_hash(salt, event.ip)
    if event.device is not None:
        state.device = hash64(salt, b"device", event.device)
    content = event.media.phash or event.media.sha256 if event.media is not None else None
    if content:
        state.content = crc32(content.encode()) or 1
        state.content_repeats += _seen(state.contents, state.content)
    if event.text:
        _fold_text(state, event.text)
    if event.links:
        _fold_links(state, event.links)


@lru_cache(maxsize=1 << 16)
def ip_hash(salt: bytes, ip: str) -> int:
    """The keyed hash of the network an IP is counted under; what is no address stands for itself."""
    try:
        return hash64(salt, b"ip", network(ip))
    except ValueError:
        return hash64(salt, b"ip", ip)


def _fold_gap(state: State, gap_us: int) -> None:
    """Running mean and variance of log gaps: a metronome has hardly any variance, people have a lot."""
    value = log(max(gap_us, 100_000) / 1_000_000)
    state.gaps += 1
    if state.gaps == 1:
        state.gap_mean = value
        return
    weight = max(GAP_MEMORY, 1.0 / state.gaps)
    delta = value - state.gap_mean
    state.gap_mean += weight * delta
    state.gap_variance = (1.0 - weight) * (state.gap_variance + weight * delta * delta)


def _fold_text(state: State, caption: str) -> None:
    state.texts += 1
    state.template_repeats += _seen(state.templates, text.template(caption))
    if not state.layouts:
        state.layouts = [0] * 16
    state.layouts[text.layout(caption)] += 1
    state.spam += (text.spamminess(caption) - state.spam) / min(state.texts, 20)


def _fold_links(state: State, given: tuple[str, ...]) -> None:
    state.linked += 1
    worst = 0.0
    repeated = 0
    for link in given[:MAX_LINKS]:
        name = links.host(link)
        worst = max(worst, links.suspicion(name))
        state.host = crc32(name.encode()) or 1
        repeated |= _seen(state.hosts, state.host)
    state.host_repeats += repeated
    state.suspicion += (worst - state.suspicion) / min(state.linked, 20)


def _fold_blame(state: State, event: Removed | Reported, at_us: int) -> None:
    mine = event.by == "owner" if isinstance(event, Removed) else False
    amount = 0.0 if mine else 1.0
    reported = amount if isinstance(event, Reported) else 0.0
    state.reports = added(state.reports, state.blamed_us, at_us, 7 * DAY_US, reported)
    state.removals = added(state.removals, state.blamed_us, at_us, 7 * DAY_US, amount - reported)
    state.blamed_us = max(state.blamed_us, at_us)


def _seen(ring: list[int], item: int) -> int:
    """1 if `item` is in the ring, else 0; it is remembered then, in place of the oldest."""
    if item in ring:
        return 1
    ring.append(item)
    if len(ring) > RING:
        del ring[0]
    return 0
