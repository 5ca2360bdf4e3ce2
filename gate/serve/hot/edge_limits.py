"""Limits of connections, and the responses to a connection that exceeds one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import uvicorn

from gate.errors import RequestRejected
from gate.serve.problems import problem, status_of

MAX_HEAD_BYTES: Final = 32 << 10
WIRE_BYTES: Final = 8
"""Bytes on the wire for one byte of body, at most: a chunk of one byte takes six."""
KEEP_ALIVE_S: Final = 75
"""An idle connection is kept for longer than the pools of common clients and proxies keep theirs (60 s)."""

_HEAD: Final = (
    b"HTTP/1.1 %d %s\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """What connections may cost: how many are held, and for how long a request may arrive, in seconds.

    `rejected` counts what is refused, by its reason.
    """

    connections: int = 4096
    request_s: float = 10.0
    rejected: Callable[[str], None] = lambda reason: None


class EdgeConfig(uvicorn.Config):
    """uvicorn's configuration with the limits of connections."""

    limits = EdgeLimits()


def refusal_response(reason: str, detail: str) -> bytes:
    """A whole response that says why the connection is closed."""
    body, status = problem(reason, detail), HTTPStatus(status_of(reason))
    return _HEAD % (status.value, status.phrase.encode(), len(body)) + body


def too_large(limit: int) -> RequestRejected:
    """The rejection of a body with more than `limit` bytes."""
    return RequestRejected("body.too_large", f"the body has at most {limit} bytes")
