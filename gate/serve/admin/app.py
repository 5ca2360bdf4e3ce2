"""The admin port: pages of this gate's board, policy and counters, and the trial of a candidate policy.

It listens on the loopback interface unless UPLOAD_GATE_ADMIN_HOST says otherwise, regardless of the address for checks.
Once there is an admin token it asks for one; beyond loopback it does not start without.
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

from gate.core.service_token import Access
from gate.errors import RequestRejected
from gate.serve.admin.board_feed import BOARD_PATH, EVENTS_PATH, BoardFeed
from gate.serve.admin.policy_trials import TRIAL_PATH, PolicyTrials
from gate.serve.admin.responses import admin_response, refusal
from gate.serve.health import Health
from gate.serve.hot.exchange import JSON, TEXT
from gate.serve.openapi import openapi
from gate.serve.service_tokens import CHALLENGE, ServiceTokens

log = logging.getLogger("upload_gate.admin")

ALIVE = "/healthz"
TOML = b"application/toml"
OF_CHECKS = frozenset(("/v1/check", "/v1/checks", "/v1/peek", "/v1/reports"))
LOOPBACK_NAMES = frozenset(("127.0.0.1", "localhost", "::1"))


class AdminApp(Starlette):
    """`/v1/board` and its events, `/v1/policy`, `/v1/stats`, `/healthz`, the routes of `trials`. Refusals are problems."""

    def __init__(self, health: Health, trials: PolicyTrials | None = None, tokens: ServiceTokens | None = None) -> None:
        pages: dict[str, tuple[bytes, Callable[[], bytes]]] = {
            "/v1/policy": (JSON, health.policy),
            "/v1/policy/document": (TOML, health.policy_document),
            "/v1/stats": (JSON, health.stats),
            "/openapi.json": (JSON, openapi),
            ALIVE: (TEXT, lambda: b"alive\n"),
        }
        routes = [Route(path, _page(content, kind), methods=["GET"]) for path, (kind, content) in pages.items()]
        feed = BoardFeed(health.watch, health.clock, health.board)
        routes.insert(0, Route(BOARD_PATH, feed.board, methods=["GET"]))
        routes.insert(1, Route(EVENTS_PATH, feed.events, methods=["GET"]))
        if trials is not None:
            routes.append(Route(TRIAL_PATH, trials.route, methods=list(trials.methods)))
        self._paths = ", ".join(route.path for route in routes)
        super().__init__(
            routes=routes,
            middleware=[Middleware(AdminAccess, tokens=tokens or ServiceTokens(Access.ADMIN, always=False))],
            exception_handlers={404: self._unknown_path, 405: _wrong_method},
        )
        self.router.redirect_slashes = False

    async def _unknown_path(self, request: Request, error: Exception) -> Response:
        elsewhere = "; this is the admin port, and checks go to the port for checks"
        of_checks = elsewhere if request.url.path in OF_CHECKS else ""
        return refusal("path.unknown", f"there is no such path{of_checks}; known are {self._paths}", 404)


class AdminAccess:
    """Lets in who shows an admin token where one is required, and else who asks for a loopback name.

    A Host header that is not a loopback name is refused without a token, which stops DNS rebinding through a browser. A
    change from any web page is refused: browsers send the page's origin with it.
    """

    def __init__(self, app: ASGIApp, tokens: ServiceTokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        refused = self._refused(scope) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await refused(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        if scope["method"] not in ("GET", "HEAD") and any(name == b"origin" for name, _ in scope["headers"]):
            return refusal("origin.refused", "a web page may change nothing here")
        if not self._tokens.required:
            return _refused_host(scope)
        if scope["path"] == ALIVE:
            return None
        try:
            self._tokens.admit(scope["headers"])
        except RequestRejected as error:
            response = refusal(error.reason, error.problem)
            response.headers.update({name.decode(): value.decode() for name, value in (CHALLENGE,)})
            return response
        return None


def _refused_host(scope: Scope) -> Response | None:
    for name, value in scope["headers"]:
        if name == b"host":
            try:
                host = urlsplit("//" + value.decode("latin-1")).hostname
            except ValueError:
                return refusal("host.refused", "the header Host is not a host name or address", 400)
            if host not in LOOPBACK_NAMES:
                return refusal("host.refused", "the admin port answers to loopback names only", 403)
    return None


def _page(content: Callable[[], bytes], kind: bytes) -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        try:
            body = content()
        except Exception:
            log.exception("unexpected error on %s", request.url.path[:80])
            return refusal("fault.internal", "the page could not be made", 500)
        return admin_response(body, 200, kind)

    return page


async def _wrong_method(request: Request, error: Exception) -> Response:
    allowed = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    response = refusal("method.not_allowed", f"this page takes {allowed.get('Allow', 'GET')}", 405)
    response.headers.update(allowed)
    return response
