"""Finds the campaigns that an upload belongs to, in this worker's data and other workers', and publishes this worker's counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from gate.core.duration import DAY_US
from gate.core.event import Attempted
from gate.core.media import Media
from streams.core.campaigns.campaign import (
    KIND_OF,
    CampaignKind,
    Feature,
    campaign_id,
    parsed_id,
    parsed_record,
    written_alias,
    written_record,
)
from streams.core.campaigns.captions_alike import LEAST_GRAMS, CaptionGroups, Marks, marks_of, written
from streams.core.campaigns.first_sight import FirstSight
from streams.core.campaigns.known import KnownCampaigns, Membership
from streams.core.campaigns.links_alike import MAX_LINKS, link_shape, pages
from streams.core.campaigns.mixing import number_of, number_of_hash
from streams.core.campaigns.pictures import CAPACITY, Pictures
from streams.core.campaigns.popular import PopularPages
from streams.core.crowd import Crowd, CrowdCount, account_number
from streams.core.crowd.kinds import LINK_CAMPAIGN, PICTURE_CAMPAIGN, TEXT_CAMPAIGN
from streams.core.crowd.record import name, parsed_name
from streams.core.models.alphabet import Alphabet
from streams.core.near import parse_hash
from streams.core.weblinks import host, link_path

MAX_PARTITION: Final = 0xFFFF
_NO_HOSTS: Final[Mapping[str, int]] = MappingProxyType({})

Upload = tuple[Attempted, int]
"""An upload that was let in, and its time in µs."""
Example = tuple[Feature, str | Marks]
"""A campaign, and the content, link or caption that showed it."""


class Campaigns:
    """The campaigns of all partitions as one worker knows them. Mutable, used by the crowd's one thread."""

    def __init__(self, crowd: Crowd, alphabet: Alphabet, capacity: int = CAPACITY) -> None:
        """`capacity` is the number of perceptual hashes of each length that are remembered."""
        self._crowd = crowd
        self._alphabet = alphabet
        self._known = KnownCampaigns(crowd)
        self._pictures = Pictures(capacity)
        self._captions = CaptionGroups()
        self._first = FirstSight()
        self.popular = PopularPages(crowd)
        self._shown: dict[Feature, tuple[int, str | Marks]] = {}

    def read(
        self, uploads: Sequence[Upload], hosts: Mapping[str, int] = _NO_HOSTS, established: Collection[str] = ()
    ) -> list[tuple[Feature, ...]]:
        """The campaigns that each upload shows, which most are alone in. All are remembered.

        `hosts` has the number of each link host, as the crowd counts it; without it no host is popular. `established`
        are those of the accounts that are. The caller notes the campaigns in the crowd and calls `look`. An upload that
        cannot be read shows none.
        """
        try:
            return self._read(uploads, hosts, established)
        except Exception:  # an error that one upload causes must not stop its partition
            if len(uploads) == 1:
                return [()]
            return [features for upload in uploads for features in self.read([upload], hosts, established)]

    def _read(
        self, uploads: Sequence[Upload], hosts: Mapping[str, int], established: Collection[str]
    ) -> list[tuple[Feature, ...]]:
        contents = self._pictures.groups([event.media.phash or "" if event.media else "" for event, _ in uploads])
        places = [place for place, (event, _) in enumerate(uploads) if len(event.text or "") >= LEAST_GRAMS]
        marks: list[Marks] = [()] * len(uploads)
        read = marks_of([uploads[place][0].text or "" for place in places], self._alphabet)
        for place, found in zip(places, read, strict=True):
            marks[place] = found
        shown: list[tuple[Feature, ...]] = []
        items: list[int] = []
        times: list[int] = []
        last, content_of = self._shown, self._content
        for (event, at_us), content, caption in zip(uploads, contents, marks, strict=True):
            example = content_of(event.media, content)
            if caption or event.links:
                examples = self._caption_and_links(event, at_us, caption, hosts, established)
                if example is not None:
                    examples.insert(0, example)
                for feature, what in examples:
                    last[feature] = at_us, what
                    items.append(feature[1])
                    times.append(at_us)
                shown.append(tuple(dict(examples)))
            elif example is not None:  # what most uploads show
                feature, what = example
                last[feature] = at_us, what
                items.append(feature[1])
                times.append(at_us)
                shown.append((feature,))
            else:
                shown.append(())
        self._first.see(items, times)
        return shown

    def look(self, joined: Iterable[tuple[int, Iterable[Feature]]] = ()) -> None:
        """Take in what was noted: which campaigns are visible, and that accounts (32-bit numbers) joined campaigns, by upload."""
        known = self._known
        known.look(self._described)
        for feature in [feature for feature in self._shown if feature in known.sightings]:
            known.sighted(feature, *self._described(feature))
        self._shown.clear()
        is_alone = known.sightings.keys().isdisjoint
        by_account: dict[int, dict[Feature, None]] = {}
        for account, features in joined:
            if not is_alone(features):  # nearly all are
                by_account.setdefault(account, {}).update(dict.fromkeys(features))
        for account, together in by_account.items():
            known.join(account, together)

    def _described(self, feature: Feature) -> tuple[int, int, list[str]]:
        """When the campaign was shown first and last, as far as that is known here, and an example."""
        first_us = self._first.first_us(feature[1])
        shown = self._shown.get(feature)
        if shown is None:
            now_us = (self._crowd.today or 0) * DAY_US
            return (now_us, now_us, []) if first_us is None else (first_us, first_us, [])
        at_us, example = shown
        text = example if isinstance(example, str) else written(example)
        return at_us if first_us is None else min(first_us, at_us), at_us, [text]

    def of(self, account: int) -> Membership:
        """The largest live campaigns that the account (32-bit number) belongs to, by kind."""
        return self._known.of(account)

    def among(self, accounts: Iterable[int]) -> set[int]:
        """Those of the accounts (32-bit numbers) that belong to a campaign."""
        return self._known.among(accounts)

    @property
    def has_members(self) -> bool:
        """Whether any account belongs to a campaign."""
        return self._known.has_members

    def sizes(self) -> dict[CampaignKind, tuple[int, int]]:
        """By kind how many campaigns are visible, and the most accounts of one that are not established."""
        return {kind: self._known.largest(kind) for kind in CampaignKind}

    def told(self, partition: int, counts: Iterable[CrowdCount]) -> tuple[list[CrowdCount], Counter[CampaignKind]]:
        """The records of those of a partition's changed counts that are campaigns', and the members they add, by kind."""
        records: list[CrowdCount] = []
        added: Counter[CampaignKind] = Counter()
        for count in counts:
            feature = parsed_name(count.feature)
            if feature is None or feature[0] not in KIND_OF:
                continue
            stays = self._known.resolved(feature)
            if stays != feature:
                record = written_alias(stays)
            else:
                known = self._known
                sighting = known.sightings.get(feature) or known.sighted(feature, *self._described(feature))
                added[KIND_OF[feature[0]]] += max(0, count.count - sighting.told.get(partition, 0))
                sighting.told[partition] = max(count.count, sighting.told.get(partition, 0))
                record = written_record(sighting, count.record)
            records.append(CrowdCount(count.feature, count.count, count.established, record))
        return records, added

    def hear(self, partition: int, given: str, value: bytes | None, at_us: int = 0) -> bool:
        """Merge the record that the owner of `partition` published of the campaign with this id, by the broker's time.

        Returns whether it is a record of a campaign.
        """
        feature, record = parsed_id(given), parsed_record(value)
        if feature is None or record is None or not 0 <= partition <= MAX_PARTITION:
            return False
        if record.same_as:
            same = parsed_id(record.same_as)
            if same is None or same[0] != feature[0] or same >= feature:
                return False
            self._known.unite(feature, same)
            return True
        for example in record.examples:
            group = self._learned(feature, example)
            if group:
                self._known.unite(feature, (feature[0], group))
        stays = self._known.resolved(feature)
        if not self._crowd.hear(partition, name(*stays), bytes(record.counts), at_us):
            return False
        self._known.sighted(stays, record.first_us, record.last_us, record.examples)
        return True

    def _content(self, media: Media | None, content: int) -> Example | None:
        """The campaign of an upload's content, with an example, if it has one."""
        if media is None:
            return None
        phash, sha256 = media.phash, media.sha256
        if not phash:
            return ((PICTURE_CAMPAIGN, number_of_hash(sha256)), sha256) if sha256 else None
        if content:
            return self._known.resolved((PICTURE_CAMPAIGN, content)), phash
        # only equal ones of another algorithm are alike
        return ((PICTURE_CAMPAIGN, number_of(phash)), phash) if parse_hash(phash) is None else None

    def _caption_and_links(
        self, event: Attempted, at_us: int, marks: Marks, hosts: Mapping[str, int], established: Collection[str]
    ) -> list[Example]:
        """The campaigns of an upload's caption and links, with an example of each."""
        found: list[Example] = []
        if marks:
            found.append((self._known.resolved((TEXT_CAMPAIGN, self._captions.group(marks))), marks))
        if event.links:
            groups = dict.fromkeys(self._links(event, at_us, hosts, event.account.id in established))
            found += [((LINK_CAMPAIGN, group), f"{group:016x}") for group in groups]
        return found

    def _links(self, event: Attempted, at_us: int, hosts: Mapping[str, int], established: bool) -> list[int]:
        """The numbers of the groups of an upload's links; notes the pages for which they speak."""
        groups: list[int] = []
        popular, account = self.popular, account_number(event.account.id)
        for link in event.links[:MAX_LINKS]:
            shape = link_shape(link)
            if not shape:
                continue
            if hosts is _NO_HOSTS:
                groups.append(number_of(shape))
                continue
            name = host(link)
            number, page = hosts[name], number_of(f"page {name}{link_path(link)}")
            if popular.has_host(number):
                path_is_popular = popular.is_well_known(number) or popular.has_page(page)
                groups += [number_of(one) for one in pages(link, name, path_is_popular)]
            else:
                groups.append(number_of(shape))
            popular.note(page, account, at_us, established)
        return groups

    def _learned(self, feature: Feature, example: str) -> int:
        kind, group = feature
        if kind == PICTURE_CAMPAIGN:
            return self._pictures.learn(example, group)
        return self._captions.learn(example, group) if kind == TEXT_CAMPAIGN else 0


def key_of(partition: int, count: CrowdCount) -> bytes:
    """The key of a campaign's record."""
    feature = parsed_name(count.feature)
    return b"" if feature is None else f"{partition}:{campaign_id(feature)}".encode()
