"""The campaigns that a worker knows: their sightings, which of them are one, and which accounts belong to them.

The crowd counts the members, as it counts those of a device. This module adds the sightings and the accounts. A campaign is
visible from `VISIBLE` accounts over all partitions, one of names from `NAMES_VISIBLE`. An account belongs to a campaign once
that is visible; the members that the crowd remembers are found then, also those that came before.

Growth: 16,384 sightings (16 MB), 131,072 accounts with their campaigns (35 MB), 16,384 campaigns that turned out to be
another one (3 MB); the oldest make room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from gate.core.make_room import make_room
from streams.core.campaigns.campaign import KIND_OF, NUMBERS, CampaignKind, Feature, Sighting
from streams.core.crowd import Crowd
from streams.core.crowd.kinds import NAME_CAMPAIGN
from streams.core.crowd.stirred import MEMBERS_FOR_ONE, TURN

VISIBLE: Final = 4
"""Accounts from which a campaign is visible; a partition publishes no fewer."""
NAMES_VISIBLE: Final = 3
"""Accounts from which a campaign of names is visible. Its run is in no word and has passed a test of chance before, so one
account fewer suffices."""
MAX_SIGHTINGS: Final = 1 << 14
MAX_ACCOUNTS: Final = 1 << 17
LEAST_LOOKED: Final = TURN // 16
"""What a turn may cost besides for campaigns whose day ended, and for members: they wait for no other features to end."""
JOINS_FOR_ONE: Final = 4
"""Members that cost a turn as much as one feature when they begin to belong to a campaign."""
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
        self._stirred = crowd.watch_stirred(KIND_OF, from_now=True)
        self._day: int | None = None
        self._aged: list[Feature] = []
        """Campaigns that are looked at because a day began."""
        self._joining: deque[tuple[Feature, int]] = deque()
        """Campaigns that became visible and whose members do not belong to them yet, each with how many there are."""
        self._to_join = 0
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

    @property
    def has_more(self) -> bool:
        """Whether a turn left something to the next one."""
        return bool(self._aged or self._joining) or self._stirred.has_more

    def look(
        self, describe: Callable[[Feature], tuple[int, int, list[str]]], is_live: Callable[[int], bool] | None = None
    ) -> None:
        """Find out for one turn which campaigns have become visible since the last call; their members belong to them.

        `describe` gives the first and the last time that a campaign is known to be shown, and examples. `is_live` tells
        which runs of names are campaigns; without it none is.
        """
        turn = self._stirred
        if self._crowd.today != self._day:
            self._day = self._crowd.today
            self._aged = list(self.sightings)
        for feature in turn.turn():
            if feature[0] != NAME_CAMPAIGN or (is_live is not None and is_live(feature[1])):
                turn.cost(self._look_at(feature, describe))
        for waiting, work in ((self._aged, self._look_at_next), (self._joining, self._join_next)):
            turn.left = max(turn.left, LEAST_LOOKED)
            while waiting and turn.left > 0:
                turn.cost(work(describe))

    def _look_at_next(self, describe: Callable[[Feature], tuple[int, int, list[str]]]) -> int:
        return 1 + self._look_at(self._aged.pop(), describe)

    def _look_at(self, feature: Feature, describe: Callable[[Feature], tuple[int, int, list[str]]]) -> int:
        """Count the accounts of a campaign; returns what that costs."""
        if feature in self._same:
            return 0
        counts, sighting = self._crowd.counts(*feature), self.sightings.get(feature)
        visible, cost = _visible_from(feature[0]), counts[0] // MEMBERS_FOR_ONE
        if counts[0] < visible and sighting is None:
            return cost
        before = 0 if sighting is None else sighting.accounts
        if not counts[0]:
            self.sightings.pop(feature, None)
            return cost
        (sighting or self.sighted(feature, *describe(feature))).count(counts)
        if before < visible <= counts[0]:
            self._crowd.publish_all(*feature)
            self._join_later(feature, counts[0])
        return cost

    def _join_later(self, feature: Feature, accounts: int) -> None:
        """The members of those that became visible first would make room for the members of the last ones."""
        self._joining.append((feature, accounts))
        self._to_join += accounts
        while self._to_join - self._joining[0][1] >= MAX_ACCOUNTS:
            self._to_join -= self._joining.popleft()[1]

    def _join_next(self, _: object) -> int:
        feature, accounts = self._joining.popleft()
        self._to_join -= accounts
        stays = self.resolved(feature)
        members = [account for _, account in self._crowd.members(*stays)]
        self.join_all(members, stays)
        return 1 + len(members) // JOINS_FOR_ONE

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

    def join_all(self, accounts: Iterable[int], feature: Feature) -> None:
        """The accounts (32-bit numbers) showed this campaign."""
        if self._is_visible(feature):
            for account in accounts:
                self.join(account, (feature,))

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
