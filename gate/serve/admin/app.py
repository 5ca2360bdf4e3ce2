"""The admin port: read-only pages of this gate's board, policy and counters.

It has no authentication. So it listens on the loopback interface only, regardless of the address for checks. Reach it
from another host through a tunnel that authenticates.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gate.serve.health import Health
from gate.serve.hot.app import JSON, TEXT
from gate.serve.problems import CONTENT_TYPE, problem

log = logging.getLogger("upload_gate.admin")

LOOPBACK_NAMES = frozenset(("127.0.0.1", "localhost", "::1"))
NO_STORE = {"cache-control": "no-store"}


class AdminApp(Starlette):
    """`/v1/board`, `/v1/policy`, `/v1/stats`, `/healthz`. Every refusal is a problem (RFC 9457)."""

    def __init__(self, health: Health) -> None:
        pages: dict[str, tuple[bytes, Callable[[], bytes]]] = {
            "/v1/board": (JSON, health.board),
            "/v1/policy": (JSON, health.policy),
            "/v1/stats": (JSON, health.stats),
            "/healthz": (TEXT, lambda: b"alive\n"),
        }
        self._paths = ", ".join(pages)
        super().__init__(
            routes=[Route(path, _page(content, kind), methods=["GET"]) for path, (kind, content) in pages.items()],
            middleware=[Middleware(LoopbackOnly)],
            exception_handlers={404: self._unknown_path, 405: _wrong_method},
        )
        self.router.redirect_slashes = False

    async def _unknown_path(self, request: Request, error: Exception) -> Response:
        return _refusal("path.unknown", f"there is no such path; known are {self._paths}", 404)


class LoopbackOnly:
    """Refuses a request whose Host header is not a loopback name, which stops DNS rebinding through a browser."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        refusal = _refused_host(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)


def _refused_host(scope: Scope) -> Response | None:
    for name, value in scope["headers"]:
        if name == b"host":
            try:
                host = urlsplit("//" + value.decode("latin-1")).hostname
            except ValueError:
                return _refusal("host.refused", "the header Host is not a host name or address", 400)
            if host not in LOOPBACK_NAMES:
                return _refusal("host.refused", "the admin port answers to loopback names only", 403)
    return None


def _page(content: Callable[[], bytes], kind: bytes) -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        try:
            body = content()
        except Exception:
            log.exception("a fault of ours on %s", request.url.path[:80])
            return _refusal("fault.internal", "the page could not be made", 500)
        return _response(body, 200, kind)

    return page


async def _wrong_method(request: Request, error: Exception) -> Response:
    allowed = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    response = _refusal("method.not_allowed", "this page is read-only", 405)
    response.headers.update(allowed)
    return response


def _refusal(reason: str, detail: str, status: int) -> Response:
    return _response(problem(reason, detail, status), status, CONTENT_TYPE)


def _response(body: bytes, status: int, kind: bytes) -> Response:
    return Response(body, status, {"content-type": kind.decode(), **NO_STORE})
