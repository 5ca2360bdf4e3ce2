"""Rejected requests as RFC 9457 problems, and the HTTP status of each reason code.

A decision is never a problem: it is answered with 200, whatever it decides.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from gate.errors import RequestRejected
from gate.records.check import REASONS

CONTENT_TYPE: Final = b"application/problem+json"
ACCEPTED: Final = (b"accept-encoding", b"identity")
"""The header that tells a client which content codings a body may have."""
TYPE_PREFIX: Final = "urn:upload-gate:problem:"

EDGE_REASONS: Final = frozenset(
    (
        "path.unknown",
        "method.not_allowed",
        "media_type.unsupported",
        "content_encoding.unsupported",
        "body.incomplete",
        "host.refused",
        "fault.internal",
        "store.unavailable",
        "origin.refused",
        "token.missing",
        "token.unknown",
        "request.malformed",
        "request.timeout",
        "header.too_large",
        "connections.too_many",
        "policy.invalid",
        "trial.none",
        "trial.running",
    )
)
ALL_REASONS: Final = REASONS | EDGE_REASONS
"""Every code a problem can carry: the last part of its `type`, and its `reason`."""

_STATUSES: Final = {
    "path.unknown": HTTPStatus.NOT_FOUND,
    "method.not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "body.too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "batch.too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "host.refused": HTTPStatus.FORBIDDEN,
    "origin.refused": HTTPStatus.FORBIDDEN,
    "token.missing": HTTPStatus.UNAUTHORIZED,
    "token.unknown": HTTPStatus.UNAUTHORIZED,
    "request.timeout": HTTPStatus.REQUEST_TIMEOUT,
    "header.too_large": HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "connections.too_many": HTTPStatus.SERVICE_UNAVAILABLE,
    "trial.none": HTTPStatus.NOT_FOUND,
    "trial.running": HTTPStatus.CONFLICT,
    "media_type.unsupported": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "content_encoding.unsupported": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "upload.reused": HTTPStatus.CONFLICT,
    "report.unknown": HTTPStatus.NOT_FOUND,
    "fault.internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "store.unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The HTTP status of each reason; the status of a reason that is not listed is 400."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One problem. `field` names the place in the body, such as `account.id` or `checks[3].media.kind`."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    field: str | None = None


_encode = msgspec.json.Encoder().encode


def require_identity(content_encoding: bytes) -> None:
    """Raise RequestRejected where a body has a content coding, such as gzip: no port decodes one."""
    codings = content_encoding.decode("latin-1").lower().split(",")
    if not {coding.strip() for coding in codings} <= {"identity", ""}:
        detail = "send the body as it is, without the header content-encoding"
        raise RequestRejected("content_encoding.unsupported", detail)


def status_of(reason: str) -> int:
    """The HTTP status of a reason code."""
    return int(_STATUSES.get(reason, HTTPStatus.BAD_REQUEST))


def problem(reason: str, detail: str, status: int | None = None, field: str | None = None) -> bytes:
    """The body of a problem. Without `status` it has the status of its reason.

    A reason outside the closed list becomes `body.malformed`.
    """
    known = reason if reason in ALL_REASONS else "body.malformed"
    given = HTTPStatus(status_of(known) if status is None else status)
    return _encode(Problem(TYPE_PREFIX + known, given.phrase, given.value, detail, known, field))


def problem_of(error: RequestRejected) -> tuple[int, bytes]:
    """The status and the body that answer a rejected request."""
    return status_of(error.reason), problem(error.reason, error.problem, field=error.field)
