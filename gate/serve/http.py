"""The hot route: checks over HTTP, as a raw ASGI app. 200 is a decision, 4xx the caller's mistake, 5xx our fault.

Also answers `/metrics`, `/healthz` (the process runs) and `/readyz` (what it stands on) for whoever watches the gate.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from gate.app.check import Check
from gate.errors import RequestRejected
from gate.ports import Clock
from gate.records.check import (
    MAX_BATCH_BYTES,
    MAX_BODY_BYTES,
    decode_check,
    decode_checks,
    encode_decision,
    encode_decisions,
)
from gate.serve.asgi import TEXT, Header, Receive, Scope, Send, answer, read_body
from gate.serve.health import Health
from gate.serve.problems import CONTENT_TYPE, problem, problem_of

log = logging.getLogger("upload_gate.http")

CLOSE: Final[Header] = (b"connection", b"close")


class GateApp:
    """The ASGI app. `jitter` yields numbers in [0, 1) that spread returns."""

    def __init__(self, check: Check, health: Health, clock: Clock, jitter: Callable[[], float]) -> None:
        self._check = check
        self._health = health
        self._clock = clock
        self._jitter = jitter
        self._posts: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
            "/v1/check": self._one,
            "/v1/checks": self._many,
        }
        self._gets: dict[str, Callable[[Send], Awaitable[None]]] = {
            "/metrics": self._metrics,
            "/healthz": self._alive,
            "/readyz": self._ready,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. The request handler is an edge: whatever is raised below becomes an answer."""
        if scope["type"] != "http":
            return
        post = self._posts.get(scope["path"])
        try:
            if post is not None and scope["method"] == "POST":
                await post(scope, receive, send)
            else:
                await self._dispatch(scope, send)
        except RequestRejected as error:
            self._check.counts.reject(error.reason)
            extra = (CLOSE,) if error.status == 413 else ()
            await answer(send, error.status, problem_of(error), CONTENT_TYPE, extra)
        except Exception:
            self._check.counts.faults["http"] += 1
            log.exception("a fault of ours on %s", scope["path"][:80])
            body = problem("fault.internal", "the gate failed; this is no decision, ask again", 500)
            await answer(send, 500, body, CONTENT_TYPE)

    async def _dispatch(self, scope: Scope, send: Send) -> None:
        """What is not a check: what is to be read, and what there is not."""
        path, method = scope["path"], scope["method"]
        get = self._gets.get(path)
        if get is not None and method in ("GET", "HEAD"):
            await get(send)
            return
        if path not in self._posts and get is None:
            known = ", ".join((*self._posts, *self._gets))
            raise RequestRejected("path.unknown", f"there is no such path; known are {known}", status=404)
        allowed = "POST" if get is None else "GET, HEAD"
        self._check.counts.reject("method.not_allowed")
        body = problem("method.not_allowed", f"{path} takes {allowed}", 405)
        await answer(send, 405, body, CONTENT_TYPE, ((b"allow", allowed.encode()),))

    async def _one(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, MAX_BODY_BYTES)
        request, ignored = decode_check(body, self._clock.now_us())
        if ignored:
            self._check.counts.ignored(ignored)
        decision = await self._check.check(request)
        await answer(send, 200, encode_decision(decision, self._jitter, ignored))

    async def _many(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, MAX_BATCH_BYTES)
        read = decode_checks(body, self._clock.now_us())
        dropped = [ignored for _, ignored in read]
        for ignored in filter(None, dropped):
            self._check.counts.ignored(ignored)
        decisions = await self._check.check_many([request for request, _ in read])
        await answer(send, 200, encode_decisions(decisions, self._jitter, dropped))

    async def _metrics(self, send: Send) -> None:
        kind, body = self._health.metrics()
        await answer(send, 200, body, kind)

    async def _alive(self, send: Send) -> None:
        await answer(send, 200, b"alive\n", TEXT)

    async def _ready(self, send: Send) -> None:
        await answer(send, 200, self._health.ready())
