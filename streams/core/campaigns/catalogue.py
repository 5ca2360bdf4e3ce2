"""Reads the campaigns from all records of their topic, as people see them: members added up over partitions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gate.core.duration import DAY_US
from streams.core.campaigns.campaign import (
    KIND_OF,
    CampaignKind,
    CampaignRecord,
    Feature,
    Sighting,
    campaign_id,
    parsed_id,
    parsed_record,
)
from streams.core.crowd.kinds import KINDS
from streams.core.crowd.record import parsed
from streams.core.crowd.tails import Tails, believed


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign over all partitions. `members` are its live accounts, a lower bound; `established` of them are old and
    clean. Times are in µs since 1970; `examples` are hashes. `also` are the ids under which it was found as well."""

    id: str
    kind: CampaignKind
    members: int
    established: int
    first_us: int
    last_us: int
    examples: tuple[str, ...]
    also: tuple[str, ...] = ()


class Catalogue:
    """The campaigns in a topic's records. `add` takes them in any order; a later record of a key replaces no other."""

    def __init__(self) -> None:
        self._same: dict[Feature, Feature] = {}
        self._records: dict[tuple[int, Feature], CampaignRecord] = {}

    def add(self, partition: int, given: str, value: bytes | None) -> None:
        """Take the last record of a key. Other records than those of campaigns are passed over."""
        feature, record = parsed_id(given), parsed_record(value)
        if feature is None or record is None:
            return
        same = parsed_id(record.same_as)
        if same is not None and same[0] == feature[0] and same < feature:  # as workers read it
            self._same[feature] = same
        elif not record.same_as:
            self._records[partition, feature] = record

    def all(self, today: int) -> list[Campaign]:
        """Every campaign with live members on that day since 1970, those with most accounts first."""
        found: dict[Feature, list[tuple[int, Feature]]] = {}
        for partition, feature in self._records:
            found.setdefault(self._resolved(feature), []).append((partition, feature))
        also: dict[Feature, list[Feature]] = {}
        for old in self._same:
            also.setdefault(self._resolved(old), []).append(old)
        campaigns = (self._campaign(feature, keys, also.get(feature, ()), today) for feature, keys in found.items())
        return sorted((one for one in campaigns if one.members), key=lambda one: (-one.members, one.id))

    def one(self, given: str, today: int) -> Campaign | None:
        """The campaign with this id, or with which it turned out to be one; None if it has no live members."""
        feature = parsed_id(given)
        if feature is None:
            return None
        wanted = campaign_id(self._resolved(feature))
        return next((one for one in self.all(today) if one.id == wanted), None)

    def _resolved(self, feature: Feature) -> Feature:
        while feature in self._same:
            feature = self._same[feature]
        return feature

    def _campaign(
        self, feature: Feature, keys: Iterable[tuple[int, Feature]], also: Iterable[Feature], today: int
    ) -> Campaign:
        days = KINDS[feature[0]].days
        by_partition: dict[int, Tails] = {}
        sighting: Sighting | None = None
        for partition, named in sorted(keys):  # so that the order of records does not choose the examples
            record = self._records[partition, named]
            counts = parsed(bytes(record.counts))
            tails = None if counts is None else believed(*counts, days)
            if tails is None:
                continue
            held = by_partition.get(partition)
            by_partition[partition] = tails if held is None else held.merged(tails)
            sighting = sighting or Sighting(record.first_us, record.last_us)
            sighting.extend(record.first_us, record.last_us, record.examples)
        now = [tails.at(max(today, tails.day)).numbers for tails in by_partition.values()]
        sighting = sighting or Sighting(0, 0)
        return Campaign(
            campaign_id(feature),
            KIND_OF[feature[0]],
            sum(numbers[0] for numbers in now),
            sum(numbers[days] for numbers in now),
            sighting.first_us,
            sighting.last_us,
            tuple(sighting.examples),
            tuple(sorted(map(campaign_id, also))),
        )


def day_of(now_us: int) -> int:
    """The day since 1970."""
    return now_us // DAY_US
