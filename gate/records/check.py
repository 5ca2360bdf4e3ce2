"""Bytes ↔ checks and decisions: the only codec of `/v1/check` and `/v1/checks`.

A body is hostile input: it is parsed once, by a typed decoder, and every size has a cap. What is wrong is told as a
code from `REASONS`, with the field. The answer holds what an uploader may see; scores and evidence stay behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final

import msgspec

from gate.core.account import MAX_ID_BYTES, Account, Media
from gate.core.bucket import DAY_US
from gate.core.decision import Decision
from gate.core.pseudonym import network
from gate.core.request import CheckRequest
from gate.errors import RequestRejected

MAX_BODY_BYTES: Final = 64 << 10
MAX_BATCH_BYTES: Final = 1 << 20
MAX_BATCH_CHECKS: Final = 256
MAX_UPLOAD_BYTES: Final = 1 << 40
MAX_LINKS: Final = 50
MAX_LABEL_BYTES: Final = 64
EARLIEST_US: Final = 631_152_000_000_000
"""1990-01-01: an account is not older than the web."""
MAX_JITTER_US: Final = 60_000_000

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

_AT = re.compile(r"^(?P<problem>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")


class _Batch(msgspec.Struct, frozen=True):
    checks: list[CheckRequest]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A decision as its caller sees it. `retry_after` is seconds from now; null means that waiting does not help."""

    upload_id: str
    decision: str
    stage: str
    reason: str
    retry_after: float | None
    reservation: str | None
    pause: str | None
    policy: str
    board_rev: int
    appeal: str | None


class _Answers(msgspec.Struct, frozen=True):
    decisions: list[Answer]


_decoder = msgspec.json.Decoder(CheckRequest)
_batch_decoder = msgspec.json.Decoder(_Batch)
_encoder = msgspec.json.Encoder()


def decode_check(body: bytes, now_us: int) -> CheckRequest:
    """One check. Raises RequestRejected with a code of `REASONS` and the field."""
    if len(body) > MAX_BODY_BYTES:
        raise RequestRejected("body.too_large", f"a check has at most {MAX_BODY_BYTES} bytes", status=413)
    try:
        request = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _malformed(error) from None
    _judge(request, now_us)
    return request


def decode_checks(body: bytes, now_us: int) -> list[CheckRequest]:
    """The checks of `{"checks":[…]}`, 1 to 256. One bad check rejects the batch. Raises RequestRejected."""
    if len(body) > MAX_BATCH_BYTES:
        raise RequestRejected("body.too_large", f"a batch has at most {MAX_BATCH_BYTES} bytes", status=413)
    try:
        checks = _batch_decoder.decode(body).checks
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _malformed(error) from None
    if not checks:
        raise RequestRejected("batch.empty", "a batch has at least one check", "checks")
    if len(checks) > MAX_BATCH_CHECKS:
        raise RequestRejected("batch.too_large", f"a batch has at most {MAX_BATCH_CHECKS} checks", "checks", 413)
    for position, request in enumerate(checks):
        try:
            _judge(request, now_us)
        except RequestRejected as error:
            field = f"checks[{position}].{error.field}"
            raise RequestRejected(error.reason, error.problem, field, error.status) from None
    return checks


def answer(decision: Decision, jitter: float) -> Answer:
    """The public part. `jitter` in [0, 1) puts off the return by up to a tenth, so that not all come back at once."""
    lets_in = decision.verdict.lets_in
    wait = decision.retry_after_us
    return Answer(
        decision.upload_id,
        decision.verdict,
        decision.stage,
        decision.reason,
        None if wait is None else -(-(wait + int(jitter * min(wait // 10, MAX_JITTER_US))) // 1000) / 1000,
        None,
        decision.pause,
        decision.policy,
        decision.board_rev,
        None if lets_in else appeal_token(decision.upload_id, decision.policy),
    )


def encode_decision(decision: Decision, jitter: float) -> bytes:
    """The body that answers one check."""
    return _encoder.encode(answer(decision, jitter))


def encode_decisions(decisions: Sequence[Decision], jitters: Sequence[float]) -> bytes:
    """The body that answers a batch, in its order; one jitter for each."""
    return _encoder.encode(_Answers([answer(d, j) for d, j in zip(decisions, jitters, strict=True)]))


def appeal_token(upload_id: str, policy: str) -> str:
    """16 hex digits by which an uploader names a refusal to staff; it tells nothing by itself."""
    return blake2b(upload_id.encode(), digest_size=8, person=policy.encode()[:16]).hexdigest()


def _judge(request: CheckRequest, now_us: int) -> None:
    _id("upload_id", request.upload_id)
    _account(request.account, now_us)
    _media(request.media)
    if request.ip is not None and not _is_ip(request.ip):
        raise RequestRejected("ip.invalid", "must be an IPv4 or IPv6 address without port or zone", "ip")
    if request.device is not None:
        _id("device", request.device)
    _label("surface", request.surface)
    _label("country", request.country)
    if len(request.links) > MAX_LINKS:
        raise RequestRejected("links.too_many", f"at most {MAX_LINKS} links", "links")


def _account(account: Account, now_us: int) -> None:
    _id("account.id", account.id)
    _label("account.class", account.class_)
    if account.created_at is not None:
        at_us = _instant_us(account.created_at)
        if not EARLIEST_US <= at_us <= now_us + DAY_US:
            detail = "must lie between 1990 and tomorrow; if it is right, check the clock of this host"
            raise RequestRejected("clock.absurd", detail, "account.created_at")


def _instant_us(at: datetime) -> int:
    if at.tzinfo is None:
        raise RequestRejected("field.invalid", "needs a time zone, such as a Z at its end", "account.created_at")
    try:
        return int(at.timestamp() * 1_000_000)
    except (OverflowError, ValueError):
        return -1


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


def _is_ip(value: str) -> bool:
    if "%" in value or len(value) > 64:
        return False
    try:
        network(value)
    except ValueError:
        return False
    return True


def _malformed(error: Exception) -> RequestRejected:
    """What the decoder said, as a code and a field in the caller's words."""
    if not isinstance(error, msgspec.ValidationError):
        return RequestRejected("body.malformed", f"the body is not the JSON expected here: {str(error)[:200]}")
    found = _AT.match(str(error))
    problem = found["problem"] if found else str(error)
    path = ((found["path"] or "") if found else "").lstrip(".")
    if missing := _MISSING.search(problem):
        name = missing["name"]
        return RequestRejected("field.missing", "is required", f"{path}.{name}" if path else name)
    return RequestRejected("field.invalid", problem[:200], path or None)
