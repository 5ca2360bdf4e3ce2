"""Finds the campaigns that an upload belongs to, in this worker's data and other workers', and publishes this worker's counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Self

from gate.core.duration import DAY_US
from gate.core.event import Attempted
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
from streams.core.campaigns.groups import Groups, ShownCampaigns, no_campaigns, together
from streams.core.campaigns.known import KnownCampaigns, Membership
from streams.core.campaigns.links_alike import MAX_LINKS, link_shape, pages
from streams.core.campaigns.mixing import number_of, numbers_of_hashes
from streams.core.campaigns.names_alike import NamesAlike
from streams.core.campaigns.pictures import CAPACITY, Pictures
from streams.core.campaigns.popular import PopularPages
from streams.core.campaigns.recorded_members import RecordedMembers
from streams.core.crowd import HOST, Crowd, CrowdCount
from streams.core.crowd.kinds import LINK_CAMPAIGN, NAME_CAMPAIGN, PICTURE_CAMPAIGN, TEXT_CAMPAIGN
from streams.core.crowd.record import name, parsed_name
from streams.core.models.alphabet import Alphabet
from streams.core.models.name_model import NameModel
from streams.core.near import parse_hash
from streams.core.weblinks import WebLinks, host, link_path

MAX_PARTITION: Final = 0xFFFF
MAX_SHOWN: Final = 1 << 16
"""Sights that are kept beyond their turn, while campaigns wait that they may describe."""
_NO_HOSTS: Final[Mapping[str, int]] = MappingProxyType({})


class _Shown:
    """The campaigns of one kind that uploads showed, in order: when each was shown, and an example of it. `last` has the place
    of the latest sight of each campaign's number."""

    __slots__ = ("examples", "last", "times")

    def __init__(self) -> None:
        self.last: dict[int, int] = {}
        self.times: list[int] = []
        self.examples: list[str | Marks] = []

    def add(self, numbers: Sequence[int], times: Sequence[int], examples: Sequence[str | Marks]) -> None:
        """Add those of a batch. Most are never looked up again, so it makes no object for each."""
        before = len(self.times)
        self.last.update(zip(numbers, range(before, before + len(numbers)), strict=True))
        self.times += times
        self.examples += examples


class Campaigns:
    """The campaigns of all partitions as one worker knows them. Mutable, used by the crowd's one thread."""

    def __init__(
        self, crowd: Crowd, alphabet: Alphabet, capacity: int = CAPACITY, names: NamesAlike | None = None
    ) -> None:
        """`capacity` is the number of perceptual hashes of each length that are remembered. Without `names`, which belong
        to this crowd, there are no campaigns of names."""
        self._crowd = crowd
        self._alphabet = alphabet
        self._known = KnownCampaigns(crowd)
        self._pictures = Pictures(capacity)
        self._captions = CaptionGroups()
        self._names = names
        self._first = FirstSight()
        self.popular = PopularPages(crowd)
        self._recorded = RecordedMembers(crowd, self._known)
        self.has_heard_stored = False
        self._shown: dict[int, _Shown] = {}
        """The campaigns shown since the last look, by kind."""

    @classmethod
    def by_model(cls, crowd: Crowd, alphabet: Alphabet, names: NameModel | None, web: WebLinks) -> Self:
        """Those of a crowd; those of names only if there is a model of names."""
        alike = None if names is None else NamesAlike(crowd, names, web)
        return cls(crowd, alphabet, names=alike)

    def read(
        self,
        uploads: Sequence[Attempted],
        times: Sequence[int],
        hosts: Mapping[str, int] = _NO_HOSTS,
        established: Collection[int] = (),
    ) -> ShownCampaigns:
        """The campaigns that uploads show, which most are alone in. All are remembered.

        The uploads were let in, at these times (µs). `hosts` has the number of each link host, as the crowd counts it;
        without it no host is popular. `established` has the numbers of the accounts that are. The caller notes the
        campaigns in the crowd and calls `look`. An upload that cannot be read shows none.
        """
        try:
            return self._read(uploads, times, hosts, established)
        except Exception:  # an error that one upload causes must not stop its partition
            if len(uploads) == 1:
                return no_campaigns()
            each = zip(uploads, times, strict=True)
            return together([self.read([upload], [at_us], hosts, established) for upload, at_us in each])

    def _read(
        self, uploads: Sequence[Attempted], times: Sequence[int], hosts: Mapping[str, int], established: Collection[int]
    ) -> ShownCampaigns:
        shown = no_campaigns()
        linking: list[int] = []
        written_at: list[int] = []
        plain_at: list[int] = []
        plain: list[str] = []
        looks_at: list[int] = []
        looks: list[str] = []
        for place, event in enumerate(uploads):
            media = event.media
            if media is not None:
                if media.phash:
                    looks_at.append(place)
                    looks.append(media.phash)
                elif media.sha256:
                    plain_at.append(place)
                    plain.append(media.sha256)
            if event.links:
                linking.append(place)
            if event.text and len(event.text) >= LEAST_GRAMS:
                written_at.append(place)
        examples: dict[int, list[str | Marks]] = {kind: [] for kind in shown}
        pictures = shown[PICTURE_CAMPAIGN], examples[PICTURE_CAMPAIGN]
        self._contents(plain_at, plain, looks_at, looks, *pictures)
        captions = marks_of([uploads[place].text or "" for place in written_at], self._alphabet)
        for place, marks in zip(written_at, captions, strict=True):
            if marks:
                group = self._known.resolved((TEXT_CAMPAIGN, self._captions.group(marks)))[1]
                _add(shown[TEXT_CAMPAIGN], group, place)
                examples[TEXT_CAMPAIGN].append(marks)
        for place in linking:
            event = uploads[place]
            for group in dict.fromkeys(self._links(event, times[place], hosts, established)):
                _add(shown[LINK_CAMPAIGN], group, place)
                examples[LINK_CAMPAIGN].append(f"{group:016x}")
        names = self._names
        samples = [] if names is None else self._new_names(names, uploads, linking, hosts, established, shown, examples)
        self._remember(shown, examples, times)
        for number, place in samples:
            _add(shown[NAME_CAMPAIGN], number, place)
        return shown

    def _new_names(
        self,
        names: NamesAlike,
        uploads: Sequence[Attempted],
        linking: Sequence[int],
        hosts: Mapping[str, int],
        established: Collection[int],
        shown: ShownCampaigns,
        examples: Mapping[int, list[str | Marks]],
    ) -> list[tuple[int, int]]:
        """Add the runs of each new name that an upload links to; returns the numbers that count new sites, with their
        places."""
        samples: list[tuple[int, int]] = []
        for place in linking:
            event = uploads[place]
            account = self._crowd.numbers.of(event.account.id)
            is_established = account in established
            for link in event.links[:MAX_LINKS]:
                name = host(link)
                if not name:
                    continue
                is_settled = names.is_met(name) and not (is_established and names.may_say_more(name))
                number = 0 if hosts is _NO_HOSTS or is_settled else hosts[name]
                if number and self.popular.has_host(number):
                    names.pass_by(name)
                    continue
                is_new = not number or not self._crowd.count(HOST, number)
                brought = names.show(name, account, is_new)
                if brought is not None:
                    for run in brought.runs:
                        _add(shown[NAME_CAMPAIGN], run, place)
                        examples[NAME_CAMPAIGN].append(brought.example)
                    samples += [(sample, place) for sample in brought.sample]
        return samples

    def _remember(self, shown: ShownCampaigns, examples: Mapping[int, list[str | Marks]], times: Sequence[int]) -> None:
        """Keep when each campaign was shown first, and until the next look when last, with an example."""
        items: list[int] = []
        at_us: list[int] = []
        for kind, (numbers, places) in shown.items():
            if numbers:
                when = [times[place] for place in places]
                self._shown.setdefault(kind, _Shown()).add(numbers, when, examples[kind])
                items += numbers
                at_us += when
        self._first.see(items, at_us)

    def look(self, accounts: Sequence[int] = (), shown: ShownCampaigns | None = None) -> bool:
        """Take in what was noted, for one turn: which campaigns are visible, and that `accounts` (32-bit numbers, one for each
        upload) joined the campaigns that their uploads showed. Returns whether there is more, as after a start or a change
        of hands. Then the accounts of an upload may join its campaigns in a later turn.
        """
        known, names = self._known, self._names
        self._recorded.take_in()
        joined = [] if names is None else names.look()
        known.look(self._described, None if names is None else names.is_live)
        held: dict[int, set[int]] = {}
        for feature in self._held():
            held.setdefault(feature[0], set()).add(feature[1])
            known.sighted(feature, *self._described(feature))
        if not known.has_more or sum([len(of_kind.times) for of_kind in self._shown.values()]) > MAX_SHOWN:
            self._shown.clear()
        by_account: dict[int, dict[Feature, None]] = {}
        for kind, (numbers, places) in (shown or {}).items():
            visible = held.get(kind)
            if visible is not None and kind != NAME_CAMPAIGN:
                for number, place in zip(numbers, places, strict=True):
                    if number in visible:  # nearly all are alone
                        by_account.setdefault(accounts[place], {})[kind, number] = None
        for account, number in joined:
            by_account.setdefault(account, {})[NAME_CAMPAIGN, number] = None
        for account, features in by_account.items():
            known.join(account, features)
        return known.has_more or self._recorded.has_more or (names is not None and names.has_more)

    def _held(self) -> list[Feature]:
        """The campaigns shown since the last look that somebody has sighted."""
        shown, sightings = {kind: of_kind.last for kind, of_kind in self._shown.items()}, self._known.sightings
        if len(sightings) < sum(map(len, shown.values())):
            return [feature for feature in sightings if feature[1] in shown.get(feature[0], ())]
        features = [(kind, number) for kind, numbers in shown.items() for number in numbers]
        return [feature for feature in features if feature in sightings]

    def _described(self, feature: Feature) -> tuple[int, int, list[str]]:
        """When the campaign was shown first and last, as far as that is known here, and an example."""
        first_us = self._first.first_us(feature[1])
        shown = self._shown.get(feature[0])
        place = None if shown is None else shown.last.get(feature[1])
        if shown is None or place is None:
            now_us = (self._crowd.today or 0) * DAY_US
            return (now_us, now_us, []) if first_us is None else (first_us, first_us, [])
        at_us, example = shown.times[place], shown.examples[place]
        text = example if isinstance(example, str) else written(example)
        return at_us if first_us is None else min(first_us, at_us), at_us, [text]

    def of(self, account: int) -> Membership:
        """The largest live campaigns that the account (32-bit number) belongs to, by kind."""
        belongs = self._known.of(account)
        if not belongs.name or self._names is None:
            return belongs
        return belongs._replace(name_odds=max(map(self._names.odds, self._known.names_of(account)), default=0.0))

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
            if feature is None or feature[0] not in KIND_OF or self.passes_over(feature):
                continue
            stays = self._known.resolved(feature)
            if stays != feature:
                record = written_alias(stays)
            else:
                known = self._known
                sighting = known.sightings.get(feature) or known.sighted(feature, *self._described(feature))
                added[KIND_OF[feature[0]]] += max(0, count.count - sighting.told.get(partition, 0))
                sighting.told[partition] = max(count.count, sighting.told.get(partition, 0))
                members = self._recorded.packed(partition, feature)
                record = written_record(sighting, count.record, members, self._recorded.key)
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
        if feature[0] == NAME_CAMPAIGN and self._names is not None:
            self._names.heard(feature[1])
        self._known.sighted(stays, record.first_us, record.last_us, record.examples)
        self._recorded.hear(partition, stays, record)
        return True

    def stored_are_heard(self) -> None:
        """Note that all stored records were read. Further calls change nothing."""
        self.has_heard_stored = True

    def passes_over(self, feature: Feature) -> bool:
        """Whether it is a run of names that many honest ones share, or that too few names have."""
        return feature[0] == NAME_CAMPAIGN and (self._names is None or not self._names.is_live(feature[1]))

    def _contents(
        self,
        plain_at: list[int],
        plain: list[str],
        looks_at: list[int],
        hashes: list[str],
        shown: Groups,
        examples: list[str | Marks],
    ) -> None:
        """Add the campaign of each upload's content, with an example, to `shown` and `examples`.

        The uploads at `plain_at` have a plain hash, those at `looks_at` a perceptual one.
        """
        numbers = numbers_of_hashes(plain)
        if not hashes:
            shown.numbers.extend(numbers)
            shown.places.extend(plain_at)
            examples.extend(plain)
            return
        contents = list(zip(plain_at, numbers, plain, strict=True))
        for place, phash, group in zip(looks_at, hashes, self._pictures.groups(hashes), strict=True):
            if group:
                contents.append((place, self._known.resolved((PICTURE_CAMPAIGN, group))[1], phash))
            elif parse_hash(phash) is None:
                contents.append((place, number_of(phash), phash))  # only equal ones of another algorithm are alike
        for place, number, example in sorted(contents):
            _add(shown, number, place)
            examples.append(example)

    def _links(self, event: Attempted, at_us: int, hosts: Mapping[str, int], established: Collection[int]) -> list[int]:
        """The numbers of the groups of an upload's links; notes the pages for which they speak."""
        groups: list[int] = []
        popular, account = self.popular, self._crowd.numbers.of(event.account.id)
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
            popular.note(page, account, at_us, account in established)
        return groups

    def _learned(self, feature: Feature, example: str) -> int:
        kind, group = feature
        if kind == PICTURE_CAMPAIGN:
            return self._pictures.learn(example, group)
        return self._captions.learn(example, group) if kind == TEXT_CAMPAIGN else 0


def _add(shown: Groups, number: int, place: int) -> None:
    shown.numbers.append(number)
    shown.places.append(place)


def key_of(partition: int, count: CrowdCount) -> bytes:
    """The key of a campaign's record."""
    feature = parsed_name(count.feature)
    return b"" if feature is None else f"{partition}:{campaign_id(feature)}".encode()
