"""Knows hosts and pages that established accounts link to, so that a popular service is no sign of a campaign.

A page is a host with a path. It is popular once several established accounts have linked to it, and they are not few
beside the others. A scam's host is new to the platform, and who wants to make it popular needs an established account
for every four others. Hosts that half of the world links to are popular from the start.

Growth: 4,096 hosts and pages with at most 160 accounts each (40 MB); the one that an established account linked to
longest ago makes room. Other accounts begin none, so a flood of hosts pushes out nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gate.core.duration import DAY_US
from streams.core.crowd import HOST, Crowd

LEAST_ESTABLISHED: Final = 5
"""Established accounts from which a host or page may be popular."""
OTHERS_FOR_EACH: Final = 4
"""Other accounts that one established account makes up for."""
KEPT_ESTABLISHED: Final = 32
KEPT_OTHERS: Final = KEPT_ESTABLISHED * OTHERS_FOR_EACH
"""With as many established ones as are kept, no number of others makes a page unpopular."""
KEPT_DAYS: Final = 28
"""Days without a link by an established account after which a host or page is forgotten."""
MAX_PAGES: Final = 1 << 12

WELL_KNOWN: Final = frozenset((
    "amazon.com", "apple.com", "archive.org", "bbc.co.uk", "bbc.com", "bsky.app", "cnn.com", "dailymotion.com",
    "deviantart.com", "discord.com", "discord.gg", "ebay.com", "en.wikipedia.org", "etsy.com", "facebook.com", "fb.watch",
    "flickr.com", "giphy.com", "github.com", "goodreads.com", "google.com", "imdb.com", "imgur.com", "instagram.com",
    "linkedin.com", "m.facebook.com", "m.youtube.com", "maps.app.goo.gl", "maps.google.com", "mastodon.social",
    "medium.com", "music.apple.com", "music.youtube.com", "netflix.com", "nytimes.com", "old.reddit.com",
    "open.spotify.com", "patreon.com", "pinterest.com", "reddit.com", "soundcloud.com", "spotify.com",
    "stackoverflow.com", "steamcommunity.com", "store.steampowered.com", "strava.com", "t.me", "theguardian.com",
    "threads.net", "tiktok.com", "tripadvisor.com", "twitch.tv", "twitter.com", "vimeo.com", "vk.com", "vm.tiktok.com",
    "wikipedia.org", "x.com", "youtu.be", "youtube.com",
))  # fmt: skip
"""Hosts that people everywhere link to: public knowledge that ages slowly. A link there is told by its page, as for any
popular host, so many accounts with one page are still a campaign."""


class PopularPages:
    """The hosts and pages that established accounts link to, by number. Mutable, used by the crowd's one thread."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._well_known: frozenset[int] = frozenset()
        self._linked: dict[int, tuple[int, set[int], set[int]]] = {}

    def know(self, hosts: Mapping[str, int]) -> None:
        """Take the numbers of the well-known hosts from `hosts`, the numbers under which all hosts are noted."""
        if not self._well_known:
            self._well_known = frozenset(hosts[name] for name in WELL_KNOWN)

    def note(self, page: int, account: int, at_us: int, established: bool) -> None:
        """An account (32-bit number) linked to the page or host."""
        linked = self._linked.get(page)
        if not established:
            if linked is not None and len(linked[2]) < KEPT_OTHERS:
                linked[2].add(account)
            return
        day = at_us // DAY_US
        if linked is None or day > linked[0] + KEPT_DAYS:
            linked = (day, set(), set())
        _, ours, others = linked
        if len(ours) < KEPT_ESTABLISHED:
            ours.add(account)
        others.discard(account)
        self._linked.pop(page, None)
        if len(self._linked) >= MAX_PAGES:
            del self._linked[next(iter(self._linked))]
        self._linked[page] = (day, ours, others)

    def has_host(self, host: int) -> bool:
        """Whether the host is popular, by what this worker knows or by all partitions' counts of the last days."""
        return host in self._well_known or self.has_page(host) or _is_popular(*self._counts(host))

    def has_page(self, page: int) -> bool:
        """Whether the page is popular by what this worker knows."""
        linked = self._linked.get(page)
        return linked is not None and _is_popular(len(linked[1]), len(linked[2]))

    def is_well_known(self, host: int) -> bool:
        """Whether the host is one of those that are popular everywhere."""
        return host in self._well_known

    def _counts(self, host: int) -> tuple[int, int]:
        accounts, established = self._crowd.counts(HOST, host)
        return established, accounts - established


def _is_popular(established: int, others: int) -> bool:
    return established >= LEAST_ESTABLISHED and others <= OTHERS_FOR_EACH * established
