"""The admin port: what this gate obeys and what it has done, to read only.

It asks nobody who they are. That is why it listens on the loopback interface alone, whatever the gate itself listens
on; to see it from elsewhere, go through a tunnel that authenticates.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from gate.serve.health import Health
from gate.serve.hot.app import (
    JSON,
    TEXT,
    Receive,
    Scope,
    Send,
    answer,
)
from gate.serve.problems import CONTENT_TYPE, problem

log = logging.getLogger("upload_gate.admin")

LOOPBACK_NAMES = frozenset(("127.0.0.1", "localhost", "::1"))


class AdminApp:
    """`/v1/board`, `/v1/policy`, `/v1/stats`, `/healthz`."""

    def __init__(self, health: Health) -> None:
        self._pages: Mapping[str, tuple[bytes, Callable[[], bytes]]] = {
            "/v1/board": (JSON, health.board),
            "/v1/policy": (JSON, health.policy),
            "/v1/stats": (JSON, health.stats),
            "/healthz": (TEXT, lambda: b"alive\n"),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        status, body, kind = self._respond(scope)
        await answer(send, status, body, kind, ((b"cache-control", b"no-store"),))

    def _respond(self, scope: Scope) -> tuple[int, bytes, bytes]:
        if not _addressed_to_loopback(scope):
            return 403, problem("path.unknown", "the admin port answers to loopback names only", 403), CONTENT_TYPE
        page = self._pages.get(scope["path"])
        if page is None:
            known = ", ".join(self._pages)
            return 404, problem("path.unknown", f"there is no such path; known are {known}", 404), CONTENT_TYPE
        if scope["method"] not in ("GET", "HEAD"):
            return 405, problem("method.not_allowed", "this page is only to read", 405), CONTENT_TYPE
        kind, content = page
        try:
            return 200, content(), kind
        except Exception:
            log.exception("a fault of ours on %s", scope["path"][:80])
            return 500, problem("fault.internal", "the page could not be made", 500), CONTENT_TYPE


def _addressed_to_loopback(scope: Scope) -> bool:
    """False where a browser was lured here under a foreign name (DNS rebinding)."""
    for name, value in scope["headers"]:
        if name == b"host":
            return urlsplit("//" + value.decode("latin-1")).hostname in LOOPBACK_NAMES
    return True
