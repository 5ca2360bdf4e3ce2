"""Refused requests as RFC 9457 problems. A decision is never one: it is a 200, whatever it decides."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from gate.errors import RequestRejected
from gate.records.check import REASONS

CONTENT_TYPE: Final = b"application/problem+json"
TYPE_PREFIX: Final = "urn:upload-gate:problem:"

EDGE_REASONS: Final = frozenset(
    (
        "path.unknown",
        "method.not_allowed",
        "media_type.unsupported",
        "body.incomplete",
        "host.refused",
        "fault.internal",
    )
)
ALL_REASONS: Final = REASONS | EDGE_REASONS
"""Every code a problem can carry: the last part of its `type`, and its `reason`."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One problem. `field` names the place in the body, such as `account.id` or `checks[3].media.kind`."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    field: str | None = None


_encode = msgspec.json.Encoder().encode


def problem(reason: str, detail: str, status: int, field: str | None = None) -> bytes:
    """The body of a problem; a reason outside of the closed list becomes `body.malformed`."""
    known = reason if reason in ALL_REASONS else "body.malformed"
    return _encode(Problem(TYPE_PREFIX + known, HTTPStatus(status).phrase, status, detail, known, field))


def problem_of(error: RequestRejected) -> bytes:
    """The problem that a rejection is."""
    return problem(error.reason, error.problem, error.status, error.field)
