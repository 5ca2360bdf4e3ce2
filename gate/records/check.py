"""Bytes → checks: reads the bodies of `/v1/check` and `/v1/checks`.

A body is hostile input, and every size has a cap. A typed decoder reads nearly every check. The rest are read field by
field, so that one bad field does not cost the check: it is ignored and named. A check that lacks a usable required
field is rejected with a code of `REASONS` and the name of the field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from socket import AF_INET, inet_pton
from types import MappingProxyType
from typing import Annotated, Final, Protocol

import msgspec

from gate.core.account import Account
from gate.core.fields import FieldRefused, MessageType, read_fields
from gate.core.fields.ids import SHORT_CHARS
from gate.core.fields.labels import MAX_LABEL_CHARS
from gate.core.fields.parse import NotJson, parse
from gate.core.fields.plain import (
    COMMON_LABELS,
    PLAIN_COUNTRIES,
    are_plain_links,
    are_visible,
    is_plain_hash,
    is_plain_label,
    is_shortest_address,
    none_special,
)
from gate.core.fields.required import NO_OBJECT, problem_with, reason_of
from gate.core.fields.rules import MAX_LINK_CHARS, MAX_LINKS, MAX_TEXT_CHARS, MAX_UPLOAD_BYTES
from gate.core.fields.sentinels import ANY
from gate.core.fields.times import EARLIEST, MAX_AHEAD_US
from gate.core.media import Media
from gate.core.request import CheckRequest
from gate.errors import RequestRejected

MAX_BODY_BYTES: Final = 64 << 10
MAX_BATCH_BYTES: Final = 1 << 20
MAX_BATCH_CHECKS: Final = 256

REASONS: Final = frozenset(
    (
        "body.malformed",
        "body.too_large",
        "field.missing",
        "field.invalid",
        "id.too_long",
        "batch.empty",
        "batch.too_large",
        "upload.reused",
        "report.unknown",
    )
)
"""Every code a rejected body can carry."""

_AHEAD: Final = timedelta(microseconds=MAX_AHEAD_US)


# Nearly every check decodes as a `_Check`: its types carry every bound that a decoder can test, and `is_plain_upload`
# tests the rest. Any other check is read field by field.
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=SHORT_CHARS)]
_Label = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LABEL_CHARS)]
_Link = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LINK_CHARS)]


class _Account(Account, frozen=True, gc=False):
    id: _Id
    class_: _Label | None = msgspec.field(default=None, name="class")
    created_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class _Media(Media, frozen=True, gc=False):
    kind: _Label
    bytes: Annotated[int, msgspec.Meta(ge=0, le=MAX_UPLOAD_BYTES)] | None = None
    sha256: _Id | None = None
    phash: _Id | None = None


class _Check(CheckRequest, frozen=True, gc=False):
    upload_id: _Id
    account: _Account
    media: _Media
    surface: _Label | None = None
    device: _Id | None = None
    country: _Label | None = None
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARS)] | None = None
    links: Annotated[tuple[_Link, ...], msgspec.Meta(max_length=MAX_LINKS)] = ()
    started_at: None = None  # a check that has it is read field by field


class _PlainBatch(msgspec.Struct, frozen=True):
    checks: Annotated[list[_Check], msgspec.Meta(min_length=1, max_length=MAX_BATCH_CHECKS)]


_NOTHING: Final = frozenset[str]()
_FIRST_YEAR: Final = EARLIEST.year
_SPACE, _ESCAPE, _DELETE = b" \\\x7f"
_is_shortest = lru_cache(maxsize=1 << 14)(is_shortest_address)
"""Cached, because the same few thousand addresses recur."""


def _is_plain_address(ip: str) -> bool:
    """Whether an address is in its usual form. The C library knows an IPv4 address in a sixth of the time of our own test."""
    if ":" not in ip:
        try:
            inet_pton(AF_INET, ip)
        except (OSError, ValueError):  # ValueError: it holds a NUL
            return _is_shortest(ip)
        return True
    return _is_shortest(ip)


class DescribedUpload(Protocol):
    """The common fields of a check and an attempted upload."""

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
    """Whether a check or an attempted upload is kept unchanged. `own_id` is the id of an event, `body` the JSON it was
    read from, `latest` the latest valid creation time of its account. The decoder has checked lengths, types and zones.
    """
    return _is_plain(upload, own_id, _is_simple(body), _SPACE in body, latest)


def _is_simple(body: bytes) -> bool:
    """Whether no character of the JSON is hidden; a search for an integer in bytes takes a fifth of a search for bytes."""
    return _ESCAPE not in body and _DELETE not in body and body.isascii()


def _is_plain(upload: DescribedUpload, own_id: str, is_simple: bool, has_space: bool, latest: datetime) -> bool:
    """`is_plain_upload` for JSON of which it is known whether it is simple and has spaces."""
    account, media = upload.account, upload.media  # a line with four of them would make a tuple of them first
    account_id, made, class_ = account.id, account.created_at, account.class_
    upload_id, surface = upload.upload_id, upload.surface
    ip, device = upload.ip, upload.device
    if media is None:
        kind = sha256 = phash = None
    else:
        kind, sha256, phash = media.kind, media.sha256, media.phash
    if not (
        (made is None or (made.year > _FIRST_YEAR and made <= latest))
        and (ip is None or _is_plain_address(ip))
        and (kind in COMMON_LABELS or is_plain_label(kind, _NOTHING))
        and (class_ in COMMON_LABELS or is_plain_label(class_, ANY))
        and (surface in COMMON_LABELS or is_plain_label(surface, ANY))
        and upload.country in PLAIN_COUNTRIES
        and none_special((own_id, account_id, upload_id, device, ip, sha256))
        and (sha256 is None or sha256.lower() == sha256)  # with a prefix it is longer than a plain id
        and (phash is None or is_plain_hash(phash))
    ):
        return False
    if not is_simple and not are_visible(f"{own_id}{account_id}{upload_id}{device}{sha256}{phash}"):
        return False
    if is_simple and not has_space:
        return True
    text, links = upload.text, upload.links
    return (
        " " not in account_id
        and " " not in own_id
        and (upload_id is None or " " not in upload_id)
        and (device is None or " " not in device)
        and (sha256 is None or " " not in sha256)
        and (text is None or ((is_simple or "\x00" not in text) and not text.isspace()))
        and (not links or are_plain_links(links))
    )


_plain_decoder = msgspec.json.Decoder(_Check)
_plain_batch_decoder = msgspec.json.Decoder(_PlainBatch)
_UNDECODABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""The errors that a decoder raises. RequestRejected is not one of them."""
CLASS_UNKNOWN: Final = "class.unknown"
"""Why `account.class` is ignored where the policy has no such class."""
Ignored = Mapping[str, str]
"""The fields of one check that broke their rule, each with the reason: a `Dropped` or `CLASS_UNKNOWN`."""
NOTHING_IGNORED: Final[Ignored] = MappingProxyType({})


ReadCheck = tuple[CheckRequest, Ignored]
"""A check, and the fields that were ignored."""
Labels = tuple[str | None, str | None, str | None, str | None]
"""Class, kind, surface and country of a check."""


class ReadBatch(msgspec.Struct, frozen=True):
    """The checks of a batch, the fields of each that were ignored, and the labels of all, each combination once."""

    requests: Sequence[CheckRequest]
    ignored: Sequence[Ignored]
    labels: set[Labels]


def labels_of(check: CheckRequest) -> Labels:
    """Class, kind, surface and country of a check."""
    return check.account.class_, check.media.kind, check.surface, check.country


def decode_check(body: bytes, now_us: int) -> ReadCheck:
    """One check. Raises RequestRejected with a code of `REASONS` and the field."""
    if len(body) > MAX_BODY_BYTES:
        raise RequestRejected("body.too_large", f"a check has at most {MAX_BODY_BYTES} bytes")
    try:
        plain = _plain_decoder.decode(body)
    except _UNDECODABLE:
        pass
    else:
        if _is_plain(plain, "-x", _is_simple(body), _SPACE in body, _latest(now_us // 1_000_000)):
            return plain, NOTHING_IGNORED
    return _read(_parsed(body), now_us, "")


def decode_plain_checks(bodies: Sequence[bytes], now_us: int) -> ReadBatch | None:
    """The checks of several bodies, None where one of them may be none or may have to be changed.

    The result is the same as `decode_check` of each. Testing all together takes two thirds of the time.
    """
    decode = _plain_decoder.decode
    try:
        plain = [decode(body) for body in bodies]
    except _UNDECODABLE:
        return None
    labels = _labels_of_plain(plain, b"".join(bodies), _latest(now_us // 1_000_000))
    if labels is None or max(map(len, bodies)) > MAX_BODY_BYTES:
        return None
    return ReadBatch(plain, (NOTHING_IGNORED,) * len(plain), labels)


def decode_checks(body: bytes, now_us: int) -> ReadBatch:
    """The checks of `{"checks":[…]}`, 1 to 256. One that cannot be used rejects the batch. Raises RequestRejected."""
    if len(body) > MAX_BATCH_BYTES:
        raise RequestRejected("body.too_large", f"a batch has at most {MAX_BATCH_BYTES} bytes")
    latest = _latest(now_us // 1_000_000)
    try:
        plain = _plain_batch_decoder.decode(body).checks
    except _UNDECODABLE:
        pass
    else:
        labels = _labels_of_plain(plain, body, latest)
        if labels is not None:
            return ReadBatch(plain, (NOTHING_IGNORED,) * len(plain), labels)
    batch = _parsed(body)
    checks = batch.get("checks") if isinstance(batch, dict) else None
    if checks is None:
        if not isinstance(batch, dict):
            raise RequestRejected("field.invalid", 'the body must be an object, {"checks":[…]}')
        raise RequestRejected("field.missing", "is required", "checks")
    if not isinstance(checks, list):
        raise RequestRejected("field.invalid", "must be an array", "checks")
    if not checks:
        raise RequestRejected("batch.empty", "a batch has at least one check", "checks")
    if len(checks) > MAX_BATCH_CHECKS:
        raise RequestRejected("batch.too_large", f"a batch has at most {MAX_BATCH_CHECKS} checks", "checks")
    read = [_read(raw, now_us, f"checks[{position}]") for position, raw in enumerate(checks)]
    requests, ignored = [request for request, _ in read], [fields for _, fields in read]
    return ReadBatch(requests, ignored, set(map(labels_of, requests)))


def _labels_of_plain(checks: Sequence[_Check], body: bytes, latest: datetime) -> set[Labels] | None:
    """The labels of a batch that is kept unchanged, None where one of its checks may not be.

    The result is the same as `_is_plain` of each check. Testing all checks together takes half the time.
    """
    has_space = _SPACE in body
    if not _is_simple(body):
        is_plain = all(_is_plain(check, "-x", False, has_space, latest) for check in checks)
        return set(map(labels_of, checks)) if is_plain else None
    labels: set[Labels] = set()
    ids: list[str] = []
    hashes: list[str] = []
    addresses: list[str] = []
    for check in checks:
        account, media, ip, device = check.account, check.media, check.ip, check.device
        made, sha256 = account.created_at, media.sha256
        labels.add((account.class_, media.kind, check.surface, check.country))
        ids += (account.id, check.upload_id)
        if device is not None:
            ids.append(device)
        if made is not None and not EARLIEST <= made <= latest:
            return None
        if ip is not None:
            addresses.append(ip)
        if sha256 is not None:
            hashes.append(sha256)
        if media.phash is not None and not is_plain_hash(media.phash):
            return None
        if has_space:
            text, links = check.text, check.links
            if (text is not None and text.isspace()) or (links and not are_plain_links(links)):
                return None
    joined = "".join(hashes)
    if joined != joined.lower():  # with a prefix a hash is longer than a plain id
        return None
    if has_space and (" " in joined or " " in "".join(ids)):  # a plain address has none
        return None
    if not (none_special(ids) and none_special(hashes) and none_special(addresses)):
        return None
    if not all(map(_are_plain_labels, labels)):
        return None
    return labels if _are_plain_addresses(addresses) else None


def _are_plain_addresses(addresses: Sequence[str]) -> bool:
    """`_is_plain_address` of all, without a call for each."""
    try:
        for ip in addresses:
            if ":" not in ip:
                inet_pton(AF_INET, ip)
            elif not _is_shortest(ip):
                return False
    except (OSError, ValueError):
        return all(map(_is_plain_address, addresses))
    return True


@lru_cache(maxsize=1 << 12)
def _are_plain_labels(labels: Labels) -> bool:
    class_, kind, surface, country = labels
    return (
        country in PLAIN_COUNTRIES
        and (kind in COMMON_LABELS or is_plain_label(kind, _NOTHING))
        and (class_ in COMMON_LABELS or is_plain_label(class_, ANY))
        and (surface in COMMON_LABELS or is_plain_label(surface, ANY))
    )


@lru_cache(maxsize=2)
def _latest(now_s: int) -> datetime:
    return datetime.fromtimestamp(now_s, UTC) + _AHEAD


def _parsed(body: bytes) -> object:
    try:
        return parse(body)
    except NotJson as error:
        problem = f"the body is not the JSON expected here: {str(error)[:200]}"
        raise RequestRejected("body.malformed", problem) from None


def _read(raw: object, now_us: int, place: str) -> ReadCheck:
    """The check in `raw`, read field by field. `place` is its position in a batch, for messages."""
    if not isinstance(raw, dict):
        raise RequestRejected("field.invalid", NO_OBJECT, place or None)
    try:
        kept, dropped = read_fields(raw, MessageType.CHECK, now_us)
    except FieldRefused as refused:
        raise _refusal(refused, place) from None
    return msgspec.convert(kept, CheckRequest), dropped


def _refusal(refused: FieldRefused, place: str) -> RequestRejected:
    field = f"{place}.{refused.field}" if place else refused.field
    return RequestRejected(reason_of(refused), problem_with(refused), field)
