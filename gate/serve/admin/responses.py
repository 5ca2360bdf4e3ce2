"""Responses of the admin port. None of them may be stored by a cache, and every refusal is a problem (RFC 9457)."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from gate.serve.problems import CONTENT_TYPE, problem, status_of

NO_STORE: Final = {"cache-control": "no-store"}


def admin_response(body: bytes, status: int, kind: bytes) -> Response:
    """A response with a body of the type `kind`."""
    return Response(body, status, {"content-type": kind.decode(), **NO_STORE})


def refusal(reason: str, detail: str, status: int | None = None) -> Response:
    """A problem. Without `status` it has the status of its reason."""
    given = status_of(reason) if status is None else status
    return admin_response(problem(reason, detail, given), given, CONTENT_TYPE)
