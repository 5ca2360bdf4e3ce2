"""Fast tests whether a value is plain: reading it by the table of rules would not change it.

Nearly every check and event is plain: ids in ASCII, labels in lower case, no word for unknown. True is certain. A value
with False is read by `read_fields`, which may find nothing to change. `gate.records.check` tests whole uploads.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from string import ascii_uppercase
from typing import Protocol

from gate.core.account import Account
from gate.core.fields.address import address
from gate.core.fields.reasons import Unusable
from gate.core.fields.sentinels import ANY, COUNTRIES
from gate.core.fields.times import EARLIEST

none_special = ANY.isdisjoint
"""Returns whether none of the given values stands for unknown."""
PLAIN_COUNTRIES = frozenset(one + two for one in ascii_uppercase for two in ascii_uppercase) - COUNTRIES | {None}
COMMON_LABELS = frozenset((
    None, "image", "video", "audio", "document", "file", "sticker", "new", "unverified", "regular", "trusted",
    "business", "post", "comment", "message", "avatar", "story", "profile", "album", "chat",
))  # fmt: skip
"""Common labels that are known to be plain. Other labels need a slower test."""


def is_shortest_address(ip: str) -> bool:
    """Whether an address is in its shortest form."""
    try:
        return address(ip) == ip
    except Unusable:
        return False


class Followup(Protocol):
    """The fields that all events but `attempted` have."""

    @property
    def id(self) -> str: ...
    @property
    def account(self) -> Account: ...
    @property
    def upload_id(self) -> str | None: ...


def is_plain_followup(event: Followup, labels: Sequence[str | None], latest: datetime) -> bool:
    """Whether an event about an upload is kept as it is; `labels` are those of its type, `latest` as in
    `gate.records.check.is_plain_upload`."""
    account, upload_id = event.account, event.upload_id
    made = account.created_at
    return (
        (made is None or EARLIEST <= made <= latest)
        and none_special((event.id, account.id, upload_id))
        and are_visible(f"{event.id}{account.id}{upload_id}")
        and all(word in COMMON_LABELS or is_plain_label(word, ANY) for word in (account.class_, *labels))
    )


def is_plain_id(value: str) -> bool:
    """Whether an optional id is kept as it is."""
    return value not in ANY and are_visible(value)


def are_visible(joined: str) -> bool:
    """Whether all characters are visible ASCII without spaces."""
    return joined.isascii() and joined.isprintable() and " " not in joined


def is_plain_label(word: str | None, special: frozenset[str]) -> bool:
    """Whether a label that is not a common one is kept unchanged. `special` holds values that mean unknown."""
    return word is None or (word.islower() and word not in special and are_visible(word))


def is_plain_hash(phash: str) -> bool:
    """Whether a perceptual hash is kept as it is."""
    return phash[:2] != "0x" and phash not in ANY and " " not in phash and phash.lower() == phash


def are_plain_links(links: Sequence[str]) -> bool:
    """Whether each link is kept as it is."""
    for link in links:  # noqa: SIM110  (a generator takes twice as long)
        if link.isspace() or "\x00" in link:
            return False
    return True
