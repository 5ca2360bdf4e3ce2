"""Folding: one event of an account into its facts.

Counts, decaying counters, first and last times, reporters, networks and devices are the same in whatever order the
events of an account come; so are burst counters and beats for events that come within `LATE_US`. The digest, running
means, active hours and the rings of contents, templates and hosts follow the order of the records.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any, Protocol
from zlib import crc32

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from gate.core.event import Attempted, Challenged, Completed, Event, Removed, Reported
from gate.core.fields.times import MAX_AHEAD_US, since_epoch_us
from streams.core import links, text
from streams.core.beats import count_beat
from streams.core.caption_facts import fold_caption
from streams.core.day_rhythm import with_hour
from streams.core.events import ATTEMPTED, kind_of
from streams.core.facts import Facts
from streams.core.link_facts import fold_links
from streams.core.migration import RING_MARK_BYTES, WEEK_US
from streams.core.models.marks import CaptionNumbers
from streams.core.reporters import lacking_us, with_reporter
from streams.core.rings import dated, holds, remembered
from streams.core.weblinks import WebLinks
from streams.core.window import count_one, count_upload

MAX_EVENT_IDS = 32
"""How many of its last events an account knows again: four bytes each, 128 in all.

An event that is delivered again within them changes nothing. One in 134 million new events is taken for one of them.
"""
MAX_RING = 12
"""How much is remembered of contents, templates and hosts, three bytes each: one in 1.4 million new ones is taken for one
of them."""
MAX_GROUPS = 4
"""Albums whose parts are known to belong together."""
MAX_PLACES = 4
"""Networks, and devices, that are kept: those the account came from last."""
LATE_US = 10 * MINUTE_US
"""An upload further behind the last one feeds no burst and no gap; it is counted as late."""
SESSION_US = 30 * MINUTE_US
"""An upload so long after the one before begins a session."""
SOON_US = 10 * MINUTE_US
"""An upload that the owner removes within this time may have been meant to be shown for a moment only."""
MAX_REFUSED = 1_000_000
MEAN_OVER = 20
"""Captions and linked uploads over which a running mean goes."""
REFUSALS = frozenset(("throttle", "challenge", "deny", "paused"))
"""The decisions that refuse an attempt; any other, or none, lets it in."""
CameFrom = dict[tuple[int, str | None, str | None], tuple[int, int]]
"""The hashes of network and device by day, address and device. Dated items are the same once they have held a place on that
day, so that folding it again would change nothing."""
_LAST_DAY = 0xFFFF
_MARK = 0xFF_FFFF
_LAST_MARKS = -MAX_RING * RING_MARK_BYTES
_LAST_EVENT_IDS = -MAX_EVENT_IDS * 4
_place = Struct(">HQ").pack
_mark = Struct("<I").pack


class KeyedHashes(Protocol):
    """Keyed hashes of what states may not hold. Equal values have equal hashes under one key."""

    @property
    def networks(self) -> Mapping[str, int]:
        """64 bits for the network of each address, never 0. Raises ValueError for text that is not an address."""
        ...

    @property
    def devices(self) -> Mapping[str, int]:
        """For every device 64 bits, never 0."""
        ...

    @property
    def hosts(self) -> Mapping[str, int]:
        """For every link host 64 bits, never 0."""
        ...

    def content(self, value: str) -> int:
        """64 bits for the hash of a content, never 0."""
        ...

    def mark(self, value: str) -> bytes:
        """Four bytes for anything else."""
        ...


def fold(
    facts: Facts,
    event: Event,
    at_us: int,
    offset: int,
    value: bytes,
    hashes: KeyedHashes,
    web: WebLinks,
    malformed: int = 0,
    caption: CaptionNumbers | None = None,
    link_odds: int | None = None,
    shown: list[int] | None = None,
    may_link: bool = True,
    came_from: CameFrom | None = None,
) -> bool:
    """Fold one event of the account into `facts`, in place; `uploads` grows if it was one that was let through.

    Such an upload adds a row to `shown`, of what the crowd counts: when it was (µs), its network, device, content and
    host, 0 where it has none. False, and nothing is changed, if one of the account's last events had its type and id.
    `value` is the record's bytes, which only the order-sensitive digest depends on. `web` reads the links of an upload.
    `malformed` is how many of the event's fields broke their rule, `caption` the numbers of its caption where captions are
    read, `link_odds` the log odds of its worst link where a link model reads them. `may_link` is False for an upload that is
    known to hold no link, as most do not. `came_from` has the places of the events of this account that were folded before
    into these very facts; the caller keeps it for the next one. Where it raises, facts and `shown` are in no defined state.
    """
    kind, known = kind_of(event), facts.event_ids
    mark = hashes.mark(f"{kind} {event.id}")
    if known.find(mark) >= 0 and holds(known, mark):
        return False
    facts.event_ids = (known + mark)[_LAST_EVENT_IDS:]
    facts.events += 1
    facts.offset = offset
    facts.digest = crc32(value, facts.digest)
    if malformed:
        facts.malformed += malformed
    if at_us > facts.latest_us:
        facts.latest_us = at_us
    if not facts.created_us and event.account.created_at is not None:
        _fold_creation(facts, since_epoch_us(event.account.created_at), at_us)
    attempt: Any = event
    if kind == ATTEMPTED:  # asking for the class takes twice as long
        network, device = _fold_places(facts, attempt, at_us, hashes, came_from)
        if attempt.decision not in REFUSALS:
            content, host = _fold_upload(facts, attempt, at_us, hashes, web, caption, may_link)
            if link_odds is not None:
                fold_links(facts, link_odds)
            if shown is not None:
                shown += (at_us, network, device, content, host)
        elif facts.refused < MAX_REFUSED:
            facts.refused += 1
    else:
        _fold_followup(facts, event, at_us, hashes, malformed)
    return True


def _fold_followup(facts: Facts, event: Event, at_us: int, hashes: KeyedHashes, malformed: int) -> None:
    """Fold an event about an earlier upload, or about a challenge."""
    if isinstance(event, Completed):
        facts.completed += 1
    elif isinstance(event, Reported):
        _fold_report(facts, event, at_us, hashes)
    elif isinstance(event, Removed):
        if event.by != "owner":
            count_one(facts.removals, at_us, WEEK_US)
            facts.blamed += 1
        else:
            facts.deleted += 1
            facts.deleted_soon += 0 <= at_us - facts.last_us <= SOON_US
    elif isinstance(event, Challenged):
        _fold_challenge(facts, event, at_us, malformed)


def _fold_creation(facts: Facts, created_us: int, at_us: int) -> None:
    """The first creation time that can be believed stays. Clocks may differ by a little, which breaks no rule."""
    if created_us > at_us + MAX_AHEAD_US:
        facts.malformed += 1
    elif 0 < created_us <= at_us:
        facts.created_us = created_us


def _fold_places(
    facts: Facts, event: Attempted, at_us: int, hashes: KeyedHashes, came_from: CameFrom | None
) -> tuple[int, int]:
    """The hashes of the network and the device, 0 for none."""
    day = at_us // DAY_US
    if day > _LAST_DAY:
        day = _LAST_DAY
    ip, known = event.ip, event.device
    if came_from is not None:
        before = came_from.get((day, ip, known))
        if before is not None:
            return before
    network = device = 0
    if ip is not None:
        try:
            network = hashes.networks[ip]
        except ValueError:
            facts.malformed += 1
            came_from = None  # every such address counts
        else:
            place, kept = _place(day, network), facts.networks
            if not kept.startswith(place):
                facts.networks = dated(kept, place, 2, MAX_PLACES)
    if known is not None:
        device = hashes.devices[known]
        place, kept = _place(day, device), facts.devices
        if not kept.startswith(place):
            facts.devices = dated(kept, place, 2, MAX_PLACES)
    if came_from is not None:
        came_from[day, ip, known] = network, device
    return network, device


def _fold_upload(
    facts: Facts,
    event: Attempted,
    at_us: int,
    hashes: KeyedHashes,
    web: WebLinks,
    caption: CaptionNumbers | None,
    may_link: bool,
) -> tuple[int, int]:
    """The hashes of the content and the link host, 0 for none: the facts keep those of an earlier upload."""
    uploads, last_us, media, links, caption_text = facts.uploads, facts.last_us, event.media, event.links, event.text
    if not uploads:
        facts.first_us = facts.last_us = last_us = at_us
        facts.sessions = 1
    elif at_us > last_us:
        if at_us // HOUR_US != last_us // HOUR_US:
            facts.hours = with_hour(facts.hours, at_us, facts.first_us)
        if at_us - last_us >= SESSION_US:
            facts.sessions += 1
            facts.longest_gap = max(facts.longest_gap, (at_us - last_us) // MINUTE_US)
        facts.last_us = last_us = at_us
    elif at_us < facts.first_us:
        facts.first_us = at_us
    facts.uploads = uploads + 1
    if at_us < last_us - LATE_US:
        facts.late += 1
    else:
        count_upload(facts.minute, facts.hour, facts.day, at_us)
        group = event.media_group
        if (group is None or _begins_album(facts, group)) and not count_beat(facts.beats, at_us // 1_000):
            facts.late += 1
    content = host = 0
    if media is not None:
        hashed = media.phash or media.sha256
        if hashed:
            facts.content = content = hashes.content(hashed)
            ring, mark = facts.contents, (content & _MARK).to_bytes(RING_MARK_BYTES, "little")
            if ring.find(mark) >= 0 and holds(ring, mark):
                facts.content_repeats += 1
            else:
                facts.contents = (ring + mark)[_LAST_MARKS:]
    if caption_text:
        _fold_text(facts, caption_text)
        if caption is not None:
            fold_caption(facts, caption)
    if may_link and (links or caption_text):
        hosts = web.hosts_in(links, caption_text)
        if hosts:
            _fold_hosts(facts, hosts, hashes.hosts)
            host = facts.host
    return content, host


def _begins_album(facts: Facts, group: str) -> bool:
    """Whether the album has no part yet: the one that came first has given the beat its time."""
    if not group:
        return True
    before = facts.groups
    facts.groups = remembered(before, _mark(crc32(group.encode())), MAX_GROUPS)
    return facts.groups is not before


def _fold_text(facts: Facts, caption: str) -> None:
    template, layout, spam = text.read(caption)
    ring, mark = facts.templates, (template & _MARK).to_bytes(RING_MARK_BYTES, "little")
    if ring.find(mark) >= 0 and holds(ring, mark):
        facts.template_repeats += 1
    else:
        facts.templates = (ring + mark)[_LAST_MARKS:]
    layouts = facts.layouts
    if layout >= len(layouts):
        layouts += [0] * (layout + 1 - len(layouts))
    alike = layouts[layout]
    layouts[layout] = alike + 1
    facts.layout_squares += 2 * alike + 1
    if layout & text.MENTION:
        facts.mentions += 1
    facts.texts = texts = facts.texts + 1
    before_spam = facts.spam
    if spam != before_spam:
        facts.spam = before_spam + (spam - before_spam) / (texts if texts < MEAN_OVER else MEAN_OVER)


def _fold_hosts(facts: Facts, names: tuple[str, ...], numbers: Mapping[str, int]) -> None:
    facts.linked = linked = facts.linked + 1
    worst = 0.0
    repeated = False
    for name in names:
        worst = max(worst, links.suspicion(name))
        facts.host = item = numbers[name]
        before = facts.hosts
        facts.hosts = ring = remembered(before, (item & _MARK).to_bytes(RING_MARK_BYTES, "little"), MAX_RING)
        repeated |= ring is before
    facts.host_repeats += repeated
    facts.suspicion += (worst - facts.suspicion) / min(linked, MEAN_OVER)


def _fold_report(facts: Facts, event: Reported, at_us: int, hashes: KeyedHashes) -> None:
    # a report without a reporter counts as one of its own
    reporter = hashes.mark(f"reporter {event.reporter}" if event.reporter else f"report {event.id}")
    made = event.reporter_created_at
    lacks_us = lacking_us(at_us, None if made is None else since_epoch_us(made))
    facts.reporters = with_reporter(facts.reporters, reporter, at_us, lacks_us)
    facts.blamed += not lacks_us


def _fold_challenge(facts: Facts, event: Challenged, at_us: int, malformed: int) -> None:
    if event.outcome == "passed":
        count_one(facts.passed, at_us, WEEK_US)
    elif event.outcome == "failed":
        count_one(facts.failed, at_us, WEEK_US)
    elif event.outcome is not None or not malformed:  # an outcome that was dropped is counted already
        facts.malformed += 1
