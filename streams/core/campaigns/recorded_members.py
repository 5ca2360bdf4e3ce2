"""The members of campaigns that records on the topic name, for a worker that starts or takes a partition over.

A record names up to 64 accounts of its partition, numbered under a key that all workers share. The crowd adds them as if they
had shown the campaign in this worker, so counts and memberships continue from them. Members under another key are ignored.

Growth: until the first event gives the day by which members age, at most 16,384 lists of 600 bytes wait; the oldest make room.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from gate.core.make_room import make_room
from streams.core.campaigns.campaign import CampaignRecord, Feature
from streams.core.campaigns.known import MAX_SIGHTINGS, KnownCampaigns
from streams.core.crowd import Crowd

TAKEN_A_TURN: Final = 300
"""Lists that a turn adds, at most 64 members each: some 30 ms."""
TAKEN_WITH_ONE: Final = 4
"""Lists that are added with a further one, so that those that waited for the day are added soon."""


class RecordedMembers:
    """The members that records name. Mutable, used by the crowd's one thread."""

    def __init__(self, crowd: Crowd, known: KnownCampaigns) -> None:
        self._crowd = crowd
        self._known = known
        self.key = crowd.numbers.key
        """Identifies the key of the numbers; empty if no record may hold the numbers."""
        self._waiting: dict[tuple[int, Feature], bytes] = {}

    def packed(self, partition: int, feature: Feature) -> bytes:
        """The accounts of the partition that showed the campaign, for its record."""
        return self._crowd.packed_members(partition, *feature) if self.key else b""

    def hear(self, partition: int, feature: Feature, record: CampaignRecord) -> None:
        """Add the members that the owner of the partition published."""
        if record.members and self.key and record.key == self.key:
            make_room(self._waiting, (partition, feature), MAX_SIGHTINGS)
            self._waiting[partition, feature] = record.members
            self._take_in(TAKEN_WITH_ONE)

    @property
    def has_more(self) -> bool:
        """Whether lists wait that may be added."""
        return bool(self._waiting) and self._crowd.today is not None

    def take_in(self) -> None:
        """Add for one turn members that wait, those first that have waited longest, once an event has given the day by which
        they age."""
        self._take_in(TAKEN_A_TURN)

    def _take_in(self, most: int) -> None:
        if not self.has_more:
            return
        for partition, feature in [*islice(self._waiting, most)]:
            members = self._waiting.pop((partition, feature))
            stays = self._known.resolved(feature)
            self._known.join_all(self._crowd.recall(partition, *stays, members), stays)
