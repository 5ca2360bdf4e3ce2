"""The campaigns that a worker knows: their sightings, which of them are one, and which accounts belong to them.

The crowd counts the members, as it counts those of a device. This module adds the sightings and the accounts. A campaign is
visible from `VISIBLE` accounts over all partitions, one of names from `NAMES_VISIBLE`. An account belongs to a campaign once
that is visible; the members that the crowd remembers are found then, also those that came before.

Growth: 16,384 sightings (16 MB), 131,072 accounts with their campaigns (35 MB), 16,384 campaigns that turned out to be
another one (3 MB); the oldest make room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from gate.core.make_room import make_room
from streams.core.campaigns.campaign import KIND_OF, NUMBERS, CampaignKind, Feature, Sighting
from streams.core.crowd import Crowd
from streams.core.crowd.kinds import NAME_CAMPAIGN

VISIBLE: Final = 4
"""Accounts from which a campaign is visible; a partition publishes no fewer."""
NAMES_VISIBLE: Final = 3
"""Accounts from which a campaign of names is visible. Its run is in no word and has passed a test of chance before, so one
account fewer suffices."""
MAX_SIGHTINGS: Final = 1 << 14
MAX_ACCOUNTS: Final = 1 << 17
MAX_SAME: Final = 1 << 14
MAX_OF_KIND: Final = 2
"""Campaigns of one kind that an account belongs to, the last ones: many of one kind push out none of another."""


class Membership(NamedTuple):
    """The accounts of the largest campaign of each kind that an account belongs to, and the established ones.

    `name_odds` is the most that its campaigns of names add to the log odds of its links.
    """

    content: int = 0
    link: int = 0
    text: int = 0
    name: int = 0
    content_established: int = 0
    link_established: int = 0
    text_established: int = 0
    name_established: int = 0
    name_odds: float = 0.0


NO_CAMPAIGNS: Final = Membership()
_PLACE: Final[Mapping[int, int]] = {number: place for place, number in enumerate(NUMBERS.values())}


class KnownCampaigns:
    """What is known of campaigns beside the counts of `crowd`. Mutable, used by the crowd's one thread."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._stirred = crowd.watch_stirred()
        self._stirred.take()
        self._day: int | None = None
        self._same: dict[Feature, Feature] = {}
        self._of_account: dict[int, tuple[Feature, ...]] = {}
        self.sightings: dict[Feature, Sighting] = {}

    def resolved(self, feature: Feature) -> Feature:
        """The campaign that this one turned out to be, or itself."""
        same = self._same
        while feature in same:
            feature = same[feature]
        return feature

    def sighted(self, feature: Feature, first_us: int, last_us: int, examples: list[str]) -> Sighting:
        """Keep when a campaign was shown and examples of it."""
        sighting = self.sightings.pop(feature, None)
        if sighting is None:
            sighting = Sighting(first_us, last_us)
            make_room(self.sightings, feature, MAX_SIGHTINGS)
        self.sightings[feature] = sighting  # the last one shown is the last one that makes room
        sighting.extend(first_us, last_us, examples)
        return sighting

    def look(
        self, describe: Callable[[Feature], tuple[int, int, list[str]]], is_live: Callable[[int], bool] | None = None
    ) -> None:
        """Find out which campaigns have become visible since the last call; their members belong to them.

        `describe` gives the first and the last time that a campaign is known to be shown, and examples. `is_live` tells
        which runs of names are campaigns; without it none is.
        """
        crowd, sightings = self._crowd, self.sightings
        stirred, is_all = self._stirred.take()
        features = {feature for feature in (crowd.all_shared() if is_all else stirred) if feature[0] in KIND_OF}
        features = {one for one in features if one[0] != NAME_CAMPAIGN or (is_live is not None and is_live(one[1]))}
        if crowd.today != self._day:
            self._day = crowd.today
            features |= sightings.keys()
        for feature in features:
            counts, sighting = crowd.counts(*feature), sightings.get(feature)
            visible = _visible_from(feature[0])
            if counts[0] < visible and sighting is None:
                continue
            before = 0 if sighting is None else sighting.accounts
            if not counts[0]:
                sightings.pop(feature, None)
                continue
            (sighting or self.sighted(feature, *describe(feature))).count(counts)
            if before < visible <= counts[0]:
                crowd.publish_all(*feature)
                for _, account in crowd.members(*feature):
                    self.join(account, (feature,))

    def join(self, account: int, features: Iterable[Feature]) -> None:
        """The account (32-bit number) showed these campaigns; it belongs to those that are visible."""
        joined = [feature for feature in features if self._is_visible(feature)]
        if not joined:
            return
        held = self._of_account.get(account)
        if held is None:
            make_room(self._of_account, account, MAX_ACCOUNTS)
            self._of_account[account] = tuple(joined)
        elif new := [feature for feature in joined if feature not in held]:
            self._of_account[account] = _last_of_each_kind((*held, *new))

    def among(self, accounts: Iterable[int]) -> set[int]:
        """Those of the accounts (32-bit numbers) that showed a visible campaign."""
        return self._of_account.keys() & accounts if self._of_account else set()

    def of(self, account: int) -> Membership:
        """The largest live campaigns of the account (32-bit number) at the last look, by kind."""
        features = self._of_account.get(account)
        if features is None:
            return NO_CAMPAIGNS
        accounts, established = [0] * len(_PLACE), [0] * len(_PLACE)
        for feature in features:
            sighting = self.sightings.get(self.resolved(feature))
            place = _PLACE[feature[0]]
            if sighting is not None and sighting.accounts >= max(_visible_from(feature[0]), accounts[place] + 1):
                accounts[place] = sighting.accounts
                established[place] = sighting.accounts - sighting.strangers
        return Membership(*accounts, *established)

    def names_of(self, account: int) -> list[int]:
        """The numbers of the campaigns of names that the account (32-bit number) belongs to."""
        return [number for kind, number in self._of_account.get(account, ()) if kind == NAME_CAMPAIGN]

    def _is_visible(self, feature: Feature) -> bool:
        sighting = self.sightings.get(feature)
        return sighting is not None and sighting.accounts >= _visible_from(feature[0])

    @property
    def has_members(self) -> bool:
        """Whether any account belongs to a campaign."""
        return bool(self._of_account)

    def unite(self, feature: Feature, other: Feature) -> Feature:
        """Both are one campaign: the one with the smaller number stays, and takes the members of the other."""
        feature, other = self.resolved(feature), self.resolved(other)
        if feature == other:
            return feature
        stays, goes = sorted((feature, other))
        make_room(self._same, goes, MAX_SAME)
        self._same[goes] = stays
        self._crowd.move(goes[0], goes[1], stays[1])
        gone = self.sightings.pop(goes, None)
        if gone is not None:
            self.sighted(stays, gone.first_us, gone.last_us, gone.examples)
        return stays

    def largest(self, kind: CampaignKind) -> tuple[int, int]:
        """How many visible campaigns of the kind there are, and the most accounts of one that are not established."""
        number = NUMBERS[kind]
        least = _visible_from(number)
        sizes = [s.strangers for f, s in self.sightings.items() if f[0] == number and s.accounts >= least]
        return len(sizes), max(sizes, default=0)


def _visible_from(kind: int) -> int:
    """Accounts from which a campaign of this kind of the crowd is visible."""
    return NAMES_VISIBLE if kind == NAME_CAMPAIGN else VISIBLE


def _last_of_each_kind(features: Sequence[Feature]) -> tuple[Feature, ...]:
    counts = [0] * len(_PLACE)
    kept: list[Feature] = []
    for feature in reversed(features):
        place = _PLACE[feature[0]]
        if counts[place] < MAX_OF_KIND:
            counts[place] += 1
            kept.append(feature)
    kept.reverse()
    return tuple(kept)
