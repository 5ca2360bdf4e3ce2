"""Knows hosts and pages that established accounts link to, so that a popular service is no sign of a campaign.

A page is a host with a path. It is popular once several established accounts have linked to it, and they are not few
beside the others. A scam's host is new to the platform. To make it popular takes five established accounts, each a month
old with five uploads and no complaint, and one more for every four others; 32 of them make up for any number. A popular
host hides only links to different pages. Hosts that half of the world links to are popular from the start.

A worker learns this from its own partitions since it started, and keeps it in no account's state: after a restart
the counts of all partitions of the last days say which hosts are popular, until established accounts have linked again.

Growth: 4,096 hosts and pages with at most 160 accounts each (40 MB). One that nobody established has linked to for four
weeks makes room, then of those with the fewest established accounts the one that such an account linked to longest ago. So
neither other accounts, which begin none, nor a few established ones push out what many link to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import islice
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


class _Linked:
    """The last day on which an established account linked to a page, who did, and who else did."""

    __slots__ = ("day", "established", "others")

    def __init__(self, day: int, others: set[int]) -> None:
        self.day = day
        self.established: set[int] = set()
        self.others = others


class PopularPages:
    """The hosts and pages that established accounts link to, by number. Mutable, used by the crowd's one thread."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._well_known: frozenset[int] = frozenset()
        self._linked: dict[int, _Linked] = {}
        self._ranks: tuple[OrderedDict[int, None], ...] = tuple(OrderedDict() for _ in range(KEPT_ESTABLISHED + 1))
        """The pages by their number of established accounts, the one linked to longest ago first. A plain dict would step
        over all that left before, each time that the first one is looked up."""

    def know(self, hosts: Mapping[str, int]) -> None:
        """Take the numbers of the well-known hosts from `hosts`, the numbers under which all hosts are noted."""
        if not self._well_known:
            self._well_known = frozenset(hosts[name] for name in WELL_KNOWN)

    def note(self, page: int, account: int, at_us: int, established: bool) -> None:
        """An account (32-bit number) linked to the page or host. One that is no longer established counts with the others."""
        linked = self._linked.get(page)
        if not established:
            if linked is not None:
                if account in linked.established:
                    del self._ranks[len(linked.established)][page]
                    linked.established.discard(account)
                    self._ranks[len(linked.established)][page] = None
                if len(linked.others) < KEPT_OTHERS:
                    linked.others.add(account)
            return
        day = at_us // DAY_US
        if linked is not None:
            del self._ranks[len(linked.established)][page]
        elif len(self._linked) >= MAX_PAGES:
            self._make_room()
        if linked is None or day > linked.day + KEPT_DAYS:
            linked = self._linked[page] = _Linked(day, self._others_before(page))
        linked.day = max(linked.day, day)  # an event may come late
        if len(linked.established) < KEPT_ESTABLISHED:
            linked.established.add(account)
        linked.others.discard(account)
        self._ranks[len(linked.established)][page] = None

    def _others_before(self, host: int) -> set[int]:
        """Who linked to the host before an established account did, as the crowd knows them; nobody for a page."""
        strangers = self._crowd.strangers(HOST, host)
        return set(islice(strangers, KEPT_OTHERS))

    def _make_room(self) -> None:
        oldest = [next(iter(pages)) for pages in self._ranks if pages]
        goes = next((page for page in oldest if self._is_forgotten(self._linked[page])), oldest[0])
        del self._ranks[len(self._linked.pop(goes).established)][goes]

    def _is_forgotten(self, linked: _Linked) -> bool:
        return (self._crowd.today or 0) > linked.day + KEPT_DAYS

    def has_host(self, host: int) -> bool:
        """Whether the host is popular, by what this worker knows or by all partitions' counts of the last days."""
        return host in self._well_known or self.has_page(host) or _is_popular(*self._counts(host))

    def has_page(self, page: int) -> bool:
        """Whether the page is popular by what this worker knows."""
        linked = self._linked.get(page)
        if linked is None or self._is_forgotten(linked):
            return False
        return _is_popular(len(linked.established), len(linked.others))

    def is_well_known(self, host: int) -> bool:
        """Whether the host is one of those that are popular everywhere."""
        return host in self._well_known

    def _counts(self, host: int) -> tuple[int, int]:
        accounts, established = self._crowd.counts(HOST, host)
        return established, accounts - established


def _is_popular(established: int, others: int) -> bool:
    return established >= LEAST_ESTABLISHED and others <= OTHERS_FOR_EACH * established
