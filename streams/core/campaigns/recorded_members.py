"""The members of campaigns that records on the topic name, for a worker that starts or takes a partition over.

A record names up to 64 accounts of its partition, numbered under a key that all workers share. The crowd adds them as if they
had shown the campaign in this worker, so counts and memberships continue from them. Members under another key are ignored.

Growth: until the first event gives the day by which members age, at most 16,384 lists of 600 bytes wait; the oldest make room.
"""

from __future__ import annotations

from gate.core.make_room import make_room
from streams.core.campaigns.campaign import CampaignRecord, Feature
from streams.core.campaigns.known import MAX_SIGHTINGS, KnownCampaigns
from streams.core.crowd import Crowd


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
            self.take_in()

    def take_in(self) -> None:
        """Add the members that wait, once an event has given the day by which they age."""
        if not self._waiting or self._crowd.today is None:
            return
        waiting, self._waiting = self._waiting, {}
        for (partition, feature), members in waiting.items():
            stays = self._known.resolved(feature)
            for account in self._crowd.recall(partition, *stays, members):
                self._known.join(account, (stays,))
