"""The admin port: pages of this gate's board, policy and counters, and the trial of a candidate policy.

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

from gate.serve.admin.policy_trials import TRIAL_PATH, PolicyTrials
from gate.serve.admin.responses import admin_response, refusal
from gate.serve.health import Health
from gate.serve.hot.app import JSON, TEXT

log = logging.getLogger("upload_gate.admin")

TOML = b"application/toml"
LOOPBACK_NAMES = frozenset(("127.0.0.1", "localhost", "::1"))


class AdminApp(Starlette):
    """`/v1/board`, `/v1/policy`, `/v1/stats`, `/healthz`, and the routes of `trials`. Every refusal is a problem."""

    def __init__(self, health: Health, trials: PolicyTrials | None = None) -> None:
        pages: dict[str, tuple[bytes, Callable[[], bytes]]] = {
            "/v1/board": (JSON, health.board),
            "/v1/policy": (JSON, health.policy),
            "/v1/policy/document": (TOML, health.policy_document),
            "/v1/stats": (JSON, health.stats),
            "/healthz": (TEXT, lambda: b"alive\n"),
        }
        routes = [Route(path, _page(content, kind), methods=["GET"]) for path, (kind, content) in pages.items()]
        if trials is not None:
            routes.append(Route(TRIAL_PATH, trials.route, methods=list(trials.methods)))
        self._paths = ", ".join(route.path for route in routes)
        super().__init__(
            routes=routes,
            middleware=[Middleware(LoopbackOnly)],
            exception_handlers={404: self._unknown_path, 405: _wrong_method},
        )
        self.router.redirect_slashes = False

    async def _unknown_path(self, request: Request, error: Exception) -> Response:
        return refusal("path.unknown", f"there is no such path; known are {self._paths}", 404)


class LoopbackOnly:
    """Refuses a request whose Host header is not a loopback name, which stops DNS rebinding through a browser.

    A change from any web page is refused too: browsers send the page's origin with it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        refusal = _refused(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)


def _refused(scope: Scope) -> Response | None:
    for name, value in scope["headers"]:
        if name == b"host":
            try:
                host = urlsplit("//" + value.decode("latin-1")).hostname
            except ValueError:
                return refusal("host.refused", "the header Host is not a host name or address", 400)
            if host not in LOOPBACK_NAMES:
                return refusal("host.refused", "the admin port answers to loopback names only", 403)
        elif name == b"origin" and scope["method"] not in ("GET", "HEAD"):
            return refusal("origin.refused", "a web page may change nothing here", 403)
    return None


def _page(content: Callable[[], bytes], kind: bytes) -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        try:
            body = content()
        except Exception:
            log.exception("a fault of ours on %s", request.url.path[:80])
            return refusal("fault.internal", "the page could not be made", 500)
        return admin_response(body, 200, kind)

    return page


async def _wrong_method(request: Request, error: Exception) -> Response:
    allowed = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    response = refusal("method.not_allowed", f"this page takes {allowed.get('Allow', 'GET')}", 405)
    response.headers.update(allowed)
    return response
