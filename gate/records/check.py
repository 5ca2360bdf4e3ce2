"""Bytes → checks: reads the bodies of `/v1/check` and `/v1/checks`.

A body is hostile input. A typed decoder parses it, and every size has a cap. A body that breaks a rule is rejected with
a code of `REASONS` and the name of the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Final, cast

import msgspec

from gate.core.account import MAX_ID_BYTES, Account
from gate.core.media import Media
from gate.core.pseudonym import is_ipv4, network
from gate.core.request import CheckRequest
from gate.errors import RequestRejected

MAX_BODY_BYTES: Final = 64 << 10
MAX_BATCH_BYTES: Final = 1 << 20
MAX_BATCH_CHECKS: Final = 256
MAX_UPLOAD_BYTES: Final = 1 << 40
MAX_LINKS: Final = 50
MAX_LABEL_BYTES: Final = 64

REASONS: Final = frozenset(
    (
        "body.malformed",
        "body.too_large",
        "field.missing",
        "field.invalid",
        "id.too_long",
        "size.absurd",
        "clock.absurd",
        "ip.invalid",
        "links.too_many",
        "batch.empty",
        "batch.too_large",
    )
)
"""Every code a rejected body can carry."""

_EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""An account is not older than the web."""
_DAY: Final = timedelta(days=1)
_AT = re.compile(r"^(?P<problem>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")


# Nearly every check decodes as a `_Check`: its types carry every bound that a decoder can test, so that only the
# address and the account's age remain to be judged. A body that does not decode so is decoded again as a
# `CheckRequest`, which accepts more (longer ids), and judged field by field to name what is wrong.
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_BYTES // 4)]
_Label = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LABEL_BYTES)]


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
    links: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_LINKS)] = ()


class _Batch(msgspec.Struct, frozen=True):
    checks: list[CheckRequest]


class _PlainBatch(msgspec.Struct, frozen=True):
    checks: Annotated[list[_Check], msgspec.Meta(min_length=1, max_length=MAX_BATCH_CHECKS)]


_plain_decoder = msgspec.json.Decoder(_Check)
_plain_batch_decoder = msgspec.json.Decoder(_PlainBatch)
_decoder = msgspec.json.Decoder(CheckRequest)
_batch_decoder = msgspec.json.Decoder(_Batch)
_UNDECODABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""The errors of a decoder. RequestRejected is not among them."""


def decode_check(body: bytes, now_us: int) -> CheckRequest:
    """One check. Raises RequestRejected with a code of `REASONS` and the field."""
    if len(body) > MAX_BODY_BYTES:
        raise RequestRejected("body.too_large", f"a check has at most {MAX_BODY_BYTES} bytes")
    latest = _latest(now_us // 1_000_000)
    with suppress(*_UNDECODABLE):
        plain = _plain_decoder.decode(body)
        _judge_plain(plain, latest)
        return plain
    try:
        request = _decoder.decode(body)
    except _UNDECODABLE as error:
        raise _malformed(error) from None
    _judge(request, latest)
    return request


def decode_checks(body: bytes, now_us: int) -> list[CheckRequest]:
    """The checks of `{"checks":[…]}`, 1 to 256. One bad check rejects the batch. Raises RequestRejected."""
    if len(body) > MAX_BATCH_BYTES:
        raise RequestRejected("body.too_large", f"a batch has at most {MAX_BATCH_BYTES} bytes")
    with suppress(*_UNDECODABLE):
        return _judged(_plain_batch_decoder.decode(body).checks, now_us, _judge_plain)
    try:
        checks = _batch_decoder.decode(body).checks
    except _UNDECODABLE as error:
        raise _malformed(error) from None
    if not checks:
        raise RequestRejected("batch.empty", "a batch has at least one check", "checks")
    if len(checks) > MAX_BATCH_CHECKS:
        raise RequestRejected("batch.too_large", f"a batch has at most {MAX_BATCH_CHECKS} checks", "checks")
    return _judged(checks, now_us, _judge)


def _judged(
    checks: list[CheckRequest] | list[_Check], now_us: int, judge: Callable[[CheckRequest, datetime], None]
) -> list[CheckRequest]:
    latest = _latest(now_us // 1_000_000)
    position = 0
    try:
        for request in checks:
            judge(request, latest)
            position += 1
    except RequestRejected as error:
        field = f"checks[{position}].{error.field}"
        raise RequestRejected(error.reason, error.problem, field) from None
    return cast("list[CheckRequest]", checks)


_known_network = lru_cache(maxsize=1 << 14)(network)
"""`network`, remembered: the same few thousand networks come again and again."""


@lru_cache(maxsize=2)
def _latest(now_s: int) -> datetime:
    return datetime.fromtimestamp(now_s, UTC) + _DAY


def _judge_plain(request: CheckRequest, latest: datetime) -> None:
    created_at, ip = request.account.created_at, request.ip
    if created_at is not None:
        if created_at.tzinfo is None:
            raise RequestRejected("field.invalid", "needs a time zone, such as a Z at its end", "account.created_at")
        if not _EARLIEST <= created_at <= latest:
            detail = "must lie between 1990 and tomorrow; if it is right, check the clock of this host"
            raise RequestRejected("clock.absurd", detail, "account.created_at")
    if ip is not None and not is_ipv4(ip):
        try:
            _known_network(ip)
        except ValueError:
            detail = "must be an IPv4 or IPv6 address without port or zone"
            raise RequestRejected("ip.invalid", detail, "ip") from None


def _judge(request: CheckRequest, latest: datetime) -> None:
    _judge_plain(request, latest)
    _id("upload_id", request.upload_id)
    _id("account.id", request.account.id)
    _label("account.class", request.account.class_)
    _media(request.media)
    if request.device is not None:
        _id("device", request.device)
    _label("surface", request.surface)
    _label("country", request.country)
    if len(request.links) > MAX_LINKS:
        raise RequestRejected("links.too_many", f"at most {MAX_LINKS} links", "links")


def _media(media: Media) -> None:
    if media.kind is None:
        raise RequestRejected("field.missing", "is required, such as image or video", "media.kind")
    _label("media.kind", media.kind)
    if media.bytes is not None and not 0 <= media.bytes <= MAX_UPLOAD_BYTES:
        raise RequestRejected("size.absurd", f"must be 0 to {MAX_UPLOAD_BYTES}", "media.bytes")
    for name, value in (("media.sha256", media.sha256), ("media.phash", media.phash)):
        if value is not None:
            _id(name, value)


def _id(field: str, value: str) -> None:
    # a character has at most four bytes, so most ids need no encoding to be judged
    length = len(value)
    if 0 < length <= MAX_ID_BYTES // 4:
        return
    if length == 0:
        raise RequestRejected("field.invalid", "must not be empty", field)
    if length > MAX_ID_BYTES or len(value.encode()) > MAX_ID_BYTES:
        raise RequestRejected("id.too_long", f"has at most {MAX_ID_BYTES} bytes; send a hash of longer ids", field)


def _label(field: str, value: str | None) -> None:
    if value is not None and not 0 < len(value) <= MAX_LABEL_BYTES:
        raise RequestRejected("field.invalid", f"must have 1 to {MAX_LABEL_BYTES} characters", field)


def _malformed(error: Exception) -> RequestRejected:
    """The decoder's complaint as a reason code, with the field named as the caller wrote it."""
    if not isinstance(error, msgspec.ValidationError):
        return RequestRejected("body.malformed", f"the body is not the JSON expected here: {str(error)[:200]}")
    parts = _AT.match(str(error))
    problem = parts["problem"] if parts else str(error)
    path = ((parts["path"] or "") if parts else "").lstrip(".")
    if missing := _MISSING.search(problem):
        name = missing["name"]
        return RequestRejected("field.missing", "is required", f"{path}.{name}" if path else name)
    return RequestRejected("field.invalid", problem[:200], path or None)
