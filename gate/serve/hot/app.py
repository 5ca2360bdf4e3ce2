"""The hot route: checks, peeks and reports over HTTP as a raw ASGI app, from bytes to bytes.

200 is a decision, 4xx the caller's mistake, 5xx our fault. The app also answers `/metrics`, `/healthz` (the
process runs) and `/readyz` (which of its servers answer), unless they have a port of their own.

uvicorn parses HTTP and writes the head of a response as soon as it has it. On a busy gate that second system call, and
the second packet that wakes the caller, cost as much as decoding the request; so `OneWriteProtocol` holds the head back
until the body follows. Interim responses (1xx) have no body and are written at once: the caller waits for them.
It also bounds what a connection may cost: the size of a head, the time of a request, the number of connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gate.app.check import Check
from gate.app.settle import Reports
from gate.core.decision import Stage
from gate.core.limits.reservation import SettledAs
from gate.core.request import CheckRequest
from gate.errors import RequestRejected, StoreUnavailable
from gate.ports.clock import Clock
from gate.records.check import CLASS_UNKNOWN, MAX_BATCH_BYTES, MAX_BODY_BYTES, Ignored, decode_check, decode_checks
from gate.records.decision import (
    ReservationSigner,
    encode_decision,
    encode_decisions,
    encode_peek,
    peek_answer,
    peek_fields,
    rate_limit_fields,
)
from gate.records.report import MAX_REPORTS_BYTES, decode_reports, encode_report, encode_reports, report_answer
from gate.serve.health import Health
from gate.serve.hot.edge_limits import EdgeConfig, refusal_response
from gate.serve.problems import CONTENT_TYPE, problem, problem_of, status_of
from gate.serve.service_tokens import CHALLENGE, ServiceTokens

log = logging.getLogger("upload_gate.http")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"

CLOSE: Final[Header] = (b"connection", b"close")

_REUSED: Final = (
    "was checked before for another upload: class, kind, size, network and device of one upload id stay the same; "
    "give each upload an id of its own"
)

_EXTRA: Final[Mapping[int, tuple[Header, ...]]] = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (CLOSE,),
    HTTPStatus.UNAUTHORIZED: (CHALLENGE,),
}
"""Headers of problems, by their status."""

SWEEP_EVERY: Final = 5
"""Of uvicorn's ticks, ten a second."""
MAX_HEAD_BYTES: Final = 32 << 10
_STATUS_LINE: Final = b"HTTP/1."
_INTERIM: Final = (b"HTTP/1.1 1", b"HTTP/1.0 1")


class GateApp:
    """The ASGI app. `jitter` yields numbers in [0, 1) that spread returns.

    `tokens` are those by which services may ask, None where everyone may. `checks` and `pages` say which of its routes
    it has. Without `reports` and `signer`, which come together, no answer carries a reservation, and none is reported.
    """

    def __init__(
        self, check: Check, health: Health, clock: Clock, jitter: Callable[[], float],
        tokens: ServiceTokens | None = None, checks: bool = True, pages: bool = True,
        reports: Reports | None = None, signer: ReservationSigner | None = None,
    ) -> None:  # fmt: skip
        self._check = check
        self._health = health
        self._clock = clock
        self._jitter = jitter
        self._reports = reports
        self._signer = signer
        self._tokens = tokens
        self._posts: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
            "/v1/check": self._one,
            "/v1/checks": self._many,
            "/v1/peek": self._peek,
        }
        if reports is not None:
            self._posts["/v1/reports"] = self._report
        self._gets: dict[str, Callable[[Send], Awaitable[None]]] = {
            "/metrics": self._metrics,
            "/healthz": self._alive,
            "/readyz": self._ready,
        }
        if not checks:
            self._posts.clear()
        if not pages:
            self._gets.clear()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that the app answers."""
        return (*self._posts, *self._gets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Every exception from below becomes an answer here."""
        if scope["type"] != "http":
            return
        post = self._posts.get(scope["path"])
        try:
            if post is not None and scope["method"] == "POST":
                if self._tokens is not None and self._tokens.required:
                    self._tokens.admit(scope["headers"])
                await post(scope, receive, send)
            else:
                await self._dispatch(scope, send)
        except RequestRejected as error:
            self._check.counts.reject(error.reason)
            status, body = problem_of(error)
            extra = _EXTRA.get(status, ())
            await answer(send, status, body, CONTENT_TYPE, extra)
        except Exception:
            self._check.counts.faults["http"] += 1
            log.exception("a fault of ours on %s", scope["path"][:80])
            body = problem("fault.internal", "the gate failed; this is no decision, send the check again")
            await answer(send, status_of("fault.internal"), body, CONTENT_TYPE)

    async def _dispatch(self, scope: Scope, send: Send) -> None:
        """Serve the pages; refuse unknown paths and wrong methods."""
        path, method = scope["path"], scope["method"]
        get = self._gets.get(path)
        if get is not None and method in ("GET", "HEAD"):
            await get(send)
            return
        if path not in self._posts and get is None:
            known = ", ".join(self.paths)
            raise RequestRejected("path.unknown", f"there is no such path; known are {known}")
        allowed = "POST" if get is None else "GET, HEAD"
        self._check.counts.reject("method.not_allowed")
        body = problem("method.not_allowed", f"{path} takes {allowed}")
        await answer(send, status_of("method.not_allowed"), body, CONTENT_TYPE, ((b"allow", allowed.encode()),))

    async def _one(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, MAX_BODY_BYTES)
        request, ignored = decode_check(body, self._clock.now_us())
        ignored = self._told(request, ignored)
        cycle = getattr(receive, "__self__", None)  # uvicorn's; it knows when the caller goes away
        decision = await self._check.check(request, lambda: getattr(cycle, "disconnected", False), ignored)
        if decision.stage is Stage.RESERVATION:
            raise RequestRejected("upload.reused", _REUSED, "upload_id")
        body = encode_decision(decision, self._jitter, ignored, self._signer)
        await answer(send, 200, body, JSON, rate_limit_fields(decision))

    async def _many(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, MAX_BATCH_BYTES)
        read = decode_checks(body, self._clock.now_us())
        told = [self._told(request, ignored) for request, ignored in read]
        cycle = getattr(receive, "__self__", None)
        gone = lambda: getattr(cycle, "disconnected", False)  # noqa: E731
        decisions = await self._check.check_many([request for request, _ in read], gone, told)
        await answer(send, 200, encode_decisions(decisions, self._jitter, told, self._signer))

    async def _peek(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, MAX_BODY_BYTES)
        request, ignored = decode_check(body, self._clock.now_us())
        ignored = self._told(request, ignored)
        try:
            decision, rooms = await self._check.peek(request)
        except StoreUnavailable as error:
            self._check.counts.store_errors["unavailable"] += 1
            await answer(send, 503, problem("store.unavailable", str(error)), CONTENT_TYPE)
            return
        if decision.stage is Stage.RESERVATION:
            raise RequestRejected("upload.reused", _REUSED, "upload_id")
        await answer(send, 200, encode_peek(peek_answer(decision, rooms, ignored)), JSON, peek_fields(decision, rooms))

    async def _report(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._reports is not None
        assert self._signer is not None
        body = await read_body(scope, receive, MAX_REPORTS_BYTES)
        reports, is_list = decode_reports(body, self._signer)
        settled = await self._reports.settle(reports)
        answers = [report_answer(report, each) for report, each in zip(reports, settled, strict=True)]
        if is_list:
            await answer(send, 200, encode_reports(answers))
        elif isinstance(settled[0], Exception):
            await answer(send, 503, problem("store.unavailable", str(settled[0])), CONTENT_TYPE)
        elif settled[0].settled is SettledAs.UNKNOWN:
            raise RequestRejected("report.unknown", "no upload of this id was let in for this account, or long ago")
        else:
            await answer(send, 200, encode_report(answers[0]))

    def _told(self, request: CheckRequest, ignored: Ignored) -> Ignored:
        """Count and return the fields that the answer names as ignored, also a class that the policy does not have.

        Kinds, surfaces and countries that the policy does not list are counted, and stay in the check.
        """
        if not self._check.policy.has_class(request.account.class_):
            ignored = {**ignored, "account.class": CLASS_UNKNOWN}
        if ignored:
            self._check.counts.ignored(ignored)
        for field in self._check.policy.known.unlisted(request):
            self._check.counts.unlisted[field] += 1
        return ignored

    async def _metrics(self, send: Send) -> None:
        kind, body = self._health.metrics()
        await answer(send, 200, body, kind)

    async def _alive(self, send: Send) -> None:
        await answer(send, 200, b"alive\n", TEXT)

    async def _ready(self, send: Send) -> None:
        await answer(send, 200, self._health.ready())


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Its content type, if there is one, must be JSON.

    Raises RequestRejected for another media type, for more than `limit` bytes, and if the caller disconnects.
    """
    for name, value in scope["headers"]:
        if name == b"content-type":
            if value != JSON:
                _require_json(value)
        elif name == b"content-length" and (not value.isdigit() or int(value[:20]) > limit):
            raise _too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    return await _rest_of_body(message, body, receive, limit)


async def _rest_of_body(message: Message, body: bytes, receive: Receive, limit: int) -> bytes:
    parts, size = [body], len(body)
    while message["type"] == "http.request" and message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
    if message["type"] != "http.request":
        raise RequestRejected("body.incomplete", "the connection closed before the body was complete")
    return b"".join(parts)


def _require_json(content_type: bytes) -> None:
    kind = content_type.partition(b";")[0].strip().lower()
    if kind != JSON and not kind.endswith(b"+json"):
        detail = "send the body as JSON, with the header content-type: application/json"
        raise RequestRejected("media_type.unsupported", detail)


def _too_large(limit: int) -> RequestRejected:
    return RequestRejected("body.too_large", f"the body has at most {limit} bytes")


async def answer(send: Send, status: int, body: bytes, kind: bytes = JSON, extra: Sequence[Header] = ()) -> None:
    """Send one complete response."""
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class OneWrite:
    """A transport that holds the head of a final response back until its body follows."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._write = transport.write
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, in the order given."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_STATUS_LINE) and not data.startswith(_INTERIM):
            self._head = data
            return
        self._write(data)

    def flush(self) -> None:
        """Write a head without a body."""
        if self._head:
            head, self._head = self._head, b""
            self._write(head)

    def close(self) -> None:
        """Write the held head and close."""
        self.flush()
        self._transport.close()


class OneWriteProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`; for apps that have the body ready when they send the head."""

    config: EdgeConfig
    awaited_since: float | None = None
    """Since when a request is awaited or incomplete, by the loop's clock; None while one is answered or none is due."""
    _head_bytes = 0
    """What has arrived of a request, at least of its head."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        self._one_write = OneWrite(transport)
        self.awaited_since = self.loop.time()
        super().connection_made(self._one_write)  # type: ignore[arg-type]
        if len(self.connections) > self.config.limits.connections:
            self.refuse("connections.too_many", "too many connections; use a pool, or ask another gate")

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._head_bytes += len(data)
        super().data_received(data)
        if (self._head_bytes > MAX_HEAD_BYTES or len(data) > MAX_HEAD_BYTES) and self._head_is_too_large():
            self.refuse("header.too_large", f"target and headers have at most {MAX_HEAD_BYTES} bytes")

    def _head_is_too_large(self) -> bool:
        if self.transport.is_closing():
            return False
        if self.scope is None or self.cycle is None or self.cycle.scope is not self.scope:
            return True  # this much has arrived, and the head is not complete
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        self._head_bytes = size
        return size > MAX_HEAD_BYTES and not self.cycle.response_started

    def on_message_begin(self) -> None:
        """A request begins."""
        self.awaited_since = self.loop.time()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A request has arrived in full."""
        self.awaited_since = None
        self._head_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """The request is no HTTP."""
        self.refuse("request.malformed", "this is no HTTP/1.1 request")

    def refuse(self, reason: str, detail: str) -> None:
        """Answer with a problem, unless a response has begun, and close the connection."""
        self.config.limits.rejected(reason)
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self._one_write.write(refusal_response(reason, detail))
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    def on_response_complete(self) -> None:
        """Also where a response without a body ends."""
        self._one_write.flush()
        super().on_response_complete()


class SweepingServer(uvicorn.Server):
    """Closes the connections whose request is late. Every connection is looked at, twice a second."""

    config: EdgeConfig

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second."""
        if counter % SWEEP_EVERY == 0:
            limit_s = self.config.limits.request_s
            latest = asyncio.get_running_loop().time() - limit_s
            for connection in list(self.server_state.connections):
                if not isinstance(connection, OneWriteProtocol) or connection.awaited_since is None:
                    continue
                if connection.awaited_since < latest:
                    connection.refuse("request.timeout", f"the request did not arrive within {limit_s:g} s")
        return await super().on_tick(counter)
