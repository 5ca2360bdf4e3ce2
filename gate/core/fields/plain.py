"""The quick look at what a typed decoder has read: whether reading it by the table would change nothing.

Nearly every check and event is plain: ids in ASCII, labels in lower case, no word for unknown. True is a promise; what
is False is read by `read_fields`, and may turn out to be in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from string import ascii_uppercase
from typing import Protocol

from gate.core.account import Account
from gate.core.fields.address import address
from gate.core.fields.reasons import Unusable
from gate.core.fields.sentinels import ANY, COUNTRIES
from gate.core.fields.times import EARLIEST
from gate.core.media import Media
from gate.core.pseudonym import is_ipv4

_none_special = ANY.isdisjoint
_NOTHING = frozenset[str]()
FIRST_YEAR = EARLIEST.year
_NO_MEDIA = (None, None, None)
_SPACE, _ESCAPE, _DELETE = b" \\\x7f"
_COUNTRIES = frozenset(one + two for one in ascii_uppercase for two in ascii_uppercase) - COUNTRIES | {None}
_COMMON = frozenset((
    None, "image", "video", "audio", "document", "file", "sticker", "new", "unverified", "regular", "trusted",
    "business", "post", "comment", "message", "avatar", "story", "profile", "album", "chat",
))  # fmt: skip
"""Labels that need no second look; any other costs one."""


class DescribedUpload(Protocol):
    """What a check and an attempted upload have in common."""

    @property
    def account(self) -> Account: ...
    @property
    def media(self) -> Media | None: ...
    @property
    def upload_id(self) -> str | None: ...
    @property
    def surface(self) -> str | None: ...
    @property
    def ip(self) -> str | None: ...
    @property
    def device(self) -> str | None: ...
    @property
    def country(self) -> str | None: ...
    @property
    def text(self) -> str | None: ...
    @property
    def links(self) -> Sequence[str]: ...


def is_plain_upload(upload: DescribedUpload, own_id: str, body: bytes, latest: datetime) -> bool:
    """Whether a check or an attempted upload is kept as it is. `own_id` is an event's own, `body` the JSON it was read
    from, `latest` the last moment that its account can have been made at. Lengths, types and zones are the decoder's
    to keep.
    """
    account, ip, device, media = upload.account, upload.ip, upload.device, upload.media
    account_id, upload_id, made, class_ = account.id, upload.upload_id, account.created_at, account.class_
    kind, sha256, phash = _NO_MEDIA if media is None else (media.kind, media.sha256, media.phash)
    surface = upload.surface
    if not (
        (made is None or (made.year > FIRST_YEAR and made <= latest))
        and (ip is None or is_ipv4(ip) or _is_shortest(ip))
        and (kind in _COMMON or _is_plain_label(kind, _NOTHING))
        and (class_ in _COMMON or _is_plain_label(class_, ANY))
        and (surface in _COMMON or _is_plain_label(surface, ANY))
        and upload.country in _COUNTRIES
        and _none_special((own_id, account_id, upload_id, device, ip, sha256))
        and (sha256 is None or sha256.lower() == sha256)  # with a prefix it is longer than a plain id
        and (phash is None or _is_plain_hash(phash))
    ):
        return False
    # nothing in it is hidden; looking for a number in bytes takes a fifth of looking for bytes
    is_simple = _ESCAPE not in body and _DELETE not in body and body.isascii()
    if not is_simple and not _are_visible(f"{own_id}{account_id}{upload_id}{device}{sha256}{phash}"):
        return False
    if is_simple and _SPACE not in body:
        return True
    text, links = upload.text, upload.links
    return (
        " " not in account_id
        and " " not in own_id
        and (upload_id is None or " " not in upload_id)
        and (device is None or " " not in device)
        and (sha256 is None or " " not in sha256)
        and (text is None or ((is_simple or "\x00" not in text) and not text.isspace()))
        and (not links or _are_plain_links(links))
    )


@lru_cache(maxsize=1 << 14)
def _is_shortest(ip: str) -> bool:
    """Whether an address is in its shortest form; remembered, as the same few thousand come again and again."""
    try:
        return address(ip) == ip
    except Unusable:
        return False


class Followup(Protocol):
    """What every other event has."""

    @property
    def id(self) -> str: ...
    @property
    def account(self) -> Account: ...
    @property
    def upload_id(self) -> str | None: ...


def is_plain_followup(event: Followup, labels: Sequence[str | None], latest: datetime) -> bool:
    """Whether an event about an upload is kept as it is; `labels` are the words of its type, see `is_plain_upload`."""
    account, upload_id = event.account, event.upload_id
    made = account.created_at
    return (
        (made is None or EARLIEST <= made <= latest)
        and _none_special((event.id, account.id, upload_id))
        and _are_visible(f"{event.id}{account.id}{upload_id}")
        and all(word in _COMMON or _is_plain_label(word, ANY) for word in (account.class_, *labels))
    )


def is_plain_id(value: str) -> bool:
    """Whether an optional id is kept as it is."""
    return value not in ANY and _are_visible(value)


def _are_visible(joined: str) -> bool:
    return joined.isascii() and joined.isprintable() and " " not in joined


def _is_plain_label(word: str | None, special: frozenset[str]) -> bool:
    return word is None or (word.islower() and word not in special and _are_visible(word))


def _is_plain_hash(phash: str) -> bool:
    return phash[:2] != "0x" and phash not in ANY and " " not in phash and phash.lower() == phash


def _are_plain_links(links: Sequence[str]) -> bool:
    for link in links:
        if link.isspace() or "\x00" in link:
            return False
    return True
