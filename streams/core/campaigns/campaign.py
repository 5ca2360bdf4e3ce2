"""A campaign: what many accounts show within a few days that is nearly the same, and its record on the topic.

A record's key is a partition and the campaign's id. Its value is JSON: when the campaign was seen first and last, up to
three examples by hash, how many accounts of the partition showed it on each day or later, as in `crowd.record`, and the
keyed numbers of the 64 accounts that showed it last, from which the next owner of the partition continues.
Where two workers found one campaign before they heard of each other, the one with the smaller number stays: the other's
record says `same_as`. Records of other versions are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from gate.core.fields.parse import UNDECODABLE
from streams.core.campaigns.mixing import LARGEST
from streams.core.crowd.kinds import LINK_CAMPAIGN, NAME_CAMPAIGN, PICTURE_CAMPAIGN, TEXT_CAMPAIGN

VERSION: Final = 1
MAX_EXAMPLES: Final = 3
MAX_EXAMPLE_CHARS: Final = 128
MAX_RECORD_BYTES: Final = 4_096
_DIGITS: Final = 16
_LARGEST_US: Final = 1 << 56

Feature = tuple[int, int]
"""A kind of the crowd and the number of the campaign."""


class CampaignKind(StrEnum):
    """The kind of thing that is nearly the same."""

    CONTENT = "content"
    LINK = "link"
    TEXT = "text"
    NAME = "name"


NUMBERS: Final[Mapping[CampaignKind, int]] = MappingProxyType(
    {
        CampaignKind.CONTENT: PICTURE_CAMPAIGN,
        CampaignKind.LINK: LINK_CAMPAIGN,
        CampaignKind.TEXT: TEXT_CAMPAIGN,
        CampaignKind.NAME: NAME_CAMPAIGN,
    }
)
KIND_OF: Final[Mapping[int, CampaignKind]] = MappingProxyType({number: kind for kind, number in NUMBERS.items()})


@dataclass(slots=True)
class Sighting:
    """What is known of a campaign beside its members. Mutable.

    `accounts` is how many there were at the last look, `strangers` how many of them were not established; `told` has the
    accounts that were published, by partition.
    """

    first_us: int
    last_us: int
    examples: list[str] = field(default_factory=list)
    accounts: int = 0
    strangers: int = 0
    told: dict[int, int] = field(default_factory=dict)

    def count(self, counts: tuple[int, int]) -> None:
        """Keep the accounts and the established ones among them."""
        self.accounts, self.strangers = counts[0], counts[0] - counts[1]

    def extend(self, first_us: int, last_us: int, examples: list[str]) -> None:
        """Add what another sighting knows."""
        self.first_us, self.last_us = min(self.first_us, first_us), max(self.last_us, last_us)
        for example in examples:
            if len(self.examples) < MAX_EXAMPLES and example not in self.examples:
                self.examples.append(example)


class CampaignRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record's value; times are in µs since 1970. `counts` is a record of the crowd. With `same_as` there is no more.

    `members` are the accounts of the partition (`crowd.members`), numbered under the key that `key` identifies. Records of
    earlier releases have none.
    """

    version: int
    first_us: int = 0
    last_us: int = 0
    examples: list[str] = []
    counts: msgspec.Raw = msgspec.Raw(b"null")
    same_as: str = ""
    members: bytes = b""
    key: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CampaignRecord).decode


def campaign_id(feature: Feature) -> str:
    """The id of a campaign, such as `content-05d1f3a29c04b718`."""
    return f"{KIND_OF[feature[0]]}-{feature[1]:016x}"


def parsed_id(text: str) -> Feature | None:
    """The campaign with this id; None for other text."""
    kind, dash, digits = text.partition("-")
    if not dash or kind not in list(CampaignKind) or len(digits) != _DIGITS:
        return None
    if not all(digit in "0123456789abcdef" for digit in digits):
        return None
    number = int(digits, 16)
    return (NUMBERS[CampaignKind(kind)], number) if number <= LARGEST else None


def written_record(sighting: Sighting, counts: bytes, members: bytes = b"", key: str = "") -> bytes:
    """The value of a campaign's record; `counts` is the crowd's, `members` are numbered under `key`."""
    return _encode(
        CampaignRecord(
            VERSION,
            sighting.first_us,
            sighting.last_us,
            sighting.examples,
            msgspec.Raw(counts),
            members=members,
            key=key if members else "",
        )
    )


def written_alias(same_as: Feature) -> bytes:
    """The value of a record that says which campaign this one turned out to be."""
    return _encode(CampaignRecord(VERSION, same_as=campaign_id(same_as)))


def parsed_record(value: bytes | None) -> CampaignRecord | None:
    """The record in a value; None for what no worker of this version wrote."""
    if value is None or len(value) > MAX_RECORD_BYTES:
        return None
    try:
        record = _decode(value)
    except UNDECODABLE:
        return None
    is_long = len(record.examples) > MAX_EXAMPLES or any(len(one) > MAX_EXAMPLE_CHARS for one in record.examples)
    in_time = 0 <= record.first_us <= record.last_us < _LARGEST_US
    return record if record.version == VERSION and in_time and not is_long else None
