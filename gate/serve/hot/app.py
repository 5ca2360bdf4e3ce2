"""The hot route: checks, peeks and reports over HTTP, from the bytes of a body to the bytes of its answer.

200 is a decision, 4xx the caller's mistake, 5xx our fault. The app also answers `/metrics`, `/healthz` (the
process runs) and `/readyz` (which of its servers answer), unless they have a port of their own.
`gate.serve.hot.connection` speaks HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import httptools

from gate.app.check import Check
from gate.app.settle import Reports
from gate.core.decision import Decision, Stage
from gate.core.limits.reservation import SettledAs
from gate.core.policy import Policy
from gate.core.request import CheckRequest
from gate.errors import RequestRejected, StoreUnavailable
from gate.ports.clock import Clock
from gate.records.check import (
    CLASS_UNKNOWN,
    MAX_BATCH_BYTES,
    MAX_BODY_BYTES,
    Ignored,
    Labels,
    decode_check,
    decode_checks,
    decode_plain_checks,
    labels_of,
)
from gate.records.decision import (
    ReservationSigner,
    encode_decision,
    encode_decisions,
    put_off,
    rate_limit_lines,
)
from gate.records.peek import encode_peek, peek_answer, peek_lines
from gate.records.report import MAX_REPORTS_BYTES, decode_reports, encode_report, encode_reports, report_answer
from gate.serve.health import Health
from gate.serve.hot.exchange import JSON, TEXT, HotRequest, Response
from gate.serve.hot.unknown_fields import UnknownFields
from gate.serve.problems import ACCEPTED, CONTENT_TYPE, problem, problem_of, require_identity, status_of
from gate.serve.service_tokens import CHALLENGE, ServiceTokens

log = logging.getLogger("upload_gate.http")

_REUSED: Final = (
    "was checked before for another upload: class, kind, size, network and device of one upload id stay the same; "
    "give each upload an id of its own"
)

_LINES: Final[Mapping[str, bytes]] = {
    "token.missing": b"%b: %b\r\n" % CHALLENGE,
    "token.unknown": b"%b: %b\r\n" % CHALLENGE,
    "content_encoding.unsupported": b"%b: %b\r\n" % ACCEPTED,
}
"""Further lines of the head of problems, by their reason."""

MOST_LISTED: Final = 4_096
"""How many such values are remembered."""

Handler = Callable[[HotRequest], Awaitable[Response]]


class GateApp:
    """The app of the hot port. `jitter` yields numbers in [0, 1) that spread returns.

    `tokens` are those by which services may ask, None where everyone may. `checks` and `pages` say which of its routes
    it has. Without `reports` and `signer`, which come together, no answer carries a reservation, and none is reported.
    """

    gathered: bytes = b"/v1/check"
    """See GatheringApp."""

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
        self._listed: set[Labels] = set()
        self._listed_by: Policy | None = None
        self._unknown = UnknownFields(check.counts, log.warning)
        self._posts: dict[bytes, tuple[Handler, int]] = {
            self.gathered: (self._one, MAX_BODY_BYTES),
            b"/v1/checks": (self._many, MAX_BATCH_BYTES),
            b"/v1/peek": (self._peek, MAX_BODY_BYTES),
        }
        if reports is not None:
            self._posts[b"/v1/reports"] = self._report, MAX_REPORTS_BYTES
        self._gets: dict[bytes, Handler] = {
            b"/metrics": self._metrics,
            b"/healthz": self._alive,
            b"/readyz": self._ready,
        }
        if not checks:
            self._posts.clear()
        if not pages:
            self._gets.clear()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that the app answers."""
        return tuple(path.decode() for path in (*self._posts, *self._gets))

    def admit(self, request: HotRequest) -> int:
        """See HotApp."""
        path = request.path = request.target
        post = self._posts.get(path)
        if post is None and path not in self._gets:
            path = request.path = path_of(path)
            post = self._posts.get(path)
        if post is not None and request.method == b"POST":
            if self._tokens is not None and self._tokens.required:
                self._tokens.admit(request.headers.items())
            if b"content-encoding" in request.headers:
                require_identity(request.headers[b"content-encoding"])
            kind = request.headers.get(b"content-type", JSON)
            if kind != JSON:
                _require_json(kind)
            return post[1]
        if path in self._gets:
            if request.method not in (b"GET", b"HEAD"):
                raise RequestRejected("method.not_allowed", f"{path.decode()} takes GET, HEAD")
        elif post is not None:
            raise RequestRejected("method.not_allowed", f"{path.decode()} takes POST")
        else:
            known = ", ".join(self.paths)
            raise RequestRejected("path.unknown", f"there is no such path; known are {known}")
        return MAX_BODY_BYTES

    async def respond(self, request: HotRequest) -> Response:
        """See HotApp. Every exception from below becomes a response here."""
        try:
            post = self._posts.get(request.path)
            handler = self._gets[request.path] if post is None else post[0]
            return await handler(request)
        except RequestRejected as error:
            return self.refused(request, error)
        except Exception:
            return self._failed(request)

    def respond_to_all(
        self, requests: Sequence[HotRequest]
    ) -> list[tuple[Sequence[HotRequest], Coroutine[Any, Any, Sequence[Response]]]]:
        """See GatheringApp. Checks of one class are decided together, so that none waits for one of a lower class."""
        now_us, class_of = self._clock.now_us(), self._check.policy.class_of
        by_class: dict[str | None, tuple[list[HotRequest], list[CheckRequest], list[Ignored]]] = {}
        unread: list[HotRequest] = []
        for request, asked, ignored in self._read_all(requests, now_us, unread):
            try:
                class_ = class_of(asked.account, now_us)
            except Exception:
                unread.append(request)
                continue
            if (part := by_class.get(class_)) is None:
                part = by_class[class_] = [], [], []
            part[0].append(request)
            part[1].append(asked)
            part[2].append(ignored)
        if now_us >= self._unknown.check_due_us:
            self._unknown.look_at_check(requests[0].body, now_us)
        parts: list[tuple[Sequence[HotRequest], Coroutine[Any, Any, Sequence[Response]]]]
        parts = [(part[0], self._decide_all(*part)) for part in by_class.values()]
        return [*parts, (unread, self._one_by_one(unread))] if unread else parts

    def _read_all(
        self, requests: Sequence[HotRequest], now_us: int, unread: list[HotRequest]
    ) -> Iterable[tuple[HotRequest, CheckRequest, Ignored]]:
        """The requests with their checks; those whose check cannot be read are added to `unread`."""
        plain, listed = decode_plain_checks([request.body for request in requests], now_us), self._listed_now()
        if plain is not None and plain.labels <= listed:
            return zip(requests, plain.requests, plain.ignored, strict=True)
        found: list[tuple[HotRequest, CheckRequest, Ignored]] = []
        for request in requests:
            try:
                asked, ignored = decode_check(request.body, now_us)
                if ignored or labels_of(asked) not in listed:
                    ignored = self._told(asked, ignored)
                found.append((request, asked, ignored))
            except Exception:
                unread.append(request)
        return found

    async def _decide_all(
        self, requests: Sequence[HotRequest], asked: Sequence[CheckRequest], told: Sequence[Ignored]
    ) -> Sequence[Response]:
        """The responses to checks of several callers. Where one of them fails, the others are answered all the same."""
        try:
            decisions = await self._check.check_many(
                asked, lambda: [n for n, request in enumerate(requests) if request.is_gone()], told, waits=False
            )
        except Exception:
            log.exception("unexpected error on checks that are decided together")
            return await self._one_by_one(requests)
        responses: list[Response] = []
        for request, decision, ignored in zip(requests, decisions, told, strict=True):
            try:
                responses.append(self._decided(decision, ignored))
            except RequestRejected as error:
                responses.append(self.refused(request, error))
            except Exception:
                responses.append(self._failed(request))
        return responses

    async def _one_by_one(self, requests: Sequence[HotRequest]) -> Sequence[Response]:
        return [await self.respond(request) for request in requests]

    def _failed(self, request: HotRequest) -> Response:
        """Count and log an unexpected error, and answer its request."""
        self._check.counts.faults["http"] += 1
        log.exception("unexpected error on %s", request.path.decode("latin-1"))
        body = problem("fault.internal", "the gate failed; this is no decision, send the check again")
        return status_of("fault.internal"), body, CONTENT_TYPE, b""

    def refused(self, request: HotRequest, error: RequestRejected) -> Response:
        """See HotApp."""
        self._check.counts.reject(error.reason)
        status, body = problem_of(error)
        if error.reason == "method.not_allowed":
            return (
                status,
                body,
                CONTENT_TYPE,
                b"allow: GET, HEAD\r\n" if request.path in self._gets else b"allow: POST\r\n",
            )
        return status, body, CONTENT_TYPE, _LINES.get(error.reason, b"")

    async def _one(self, request: HotRequest) -> Response:
        now_us = self._clock.now_us()
        asked, ignored = decode_check(request.body, now_us)
        if ignored or labels_of(asked) not in self._listed_now():
            ignored = self._told(asked, ignored)
        if now_us >= self._unknown.check_due_us:
            self._unknown.look_at_check(request.body, now_us)
        return self._decided(await self._check.check(asked, request.is_gone, ignored), ignored)

    def _decided(self, decision: Decision, ignored: Ignored) -> Response:
        """The response to a check. Raises RequestRejected where its upload id is of another upload."""
        if decision.stage is Stage.RESERVATION:
            raise RequestRejected("upload.reused", _REUSED, "upload_id")
        if decision.retry_after_us is not None:
            decision = put_off(decision, self._jitter())
        return 200, encode_decision(decision, ignored, self._signer), JSON, rate_limit_lines(decision)

    async def _many(self, request: HotRequest) -> Response:
        now_us = self._clock.now_us()
        read = decode_checks(request.body, now_us)
        if now_us >= self._unknown.batch_due_us:
            self._unknown.look_at_batch(request.body, now_us)
        told, listed, numbers = read.ignored, self._listed_now(), range(len(read.requests))
        if not read.labels <= listed or any(told):
            told = [
                self._told(asked, ignored) if ignored or labels_of(asked) not in listed else ignored
                for asked, ignored in zip(read.requests, told, strict=True)
            ]
        decisions = await self._check.check_many(read.requests, lambda: numbers if request.is_gone() else (), told)
        decisions = [each if each.retry_after_us is None else put_off(each, self._jitter()) for each in decisions]
        return 200, encode_decisions(decisions, told, self._signer), JSON, b""

    async def _peek(self, request: HotRequest) -> Response:
        asked, ignored = decode_check(request.body, self._clock.now_us())
        ignored = self._told(asked, ignored)
        try:
            decision, rooms = await asyncio.create_task(self._check.peek(asked))  # the store's deadlines need a task
        except StoreUnavailable as error:
            self._check.counts.store_errors["unavailable"] += 1
            return 503, problem("store.unavailable", str(error)), CONTENT_TYPE, b""
        if decision.stage is Stage.RESERVATION:
            raise RequestRejected("upload.reused", _REUSED, "upload_id")
        return 200, encode_peek(peek_answer(decision, rooms, ignored)), JSON, peek_lines(decision, rooms)

    async def _report(self, request: HotRequest) -> Response:
        assert self._reports is not None
        assert self._signer is not None
        reports, is_list = decode_reports(request.body, self._signer)
        settled = await asyncio.create_task(self._reports.settle(reports))
        answers = [report_answer(report, each) for report, each in zip(reports, settled, strict=True)]
        if is_list:
            return 200, encode_reports(answers), JSON, b""
        if isinstance(settled[0], Exception):
            return 503, problem("store.unavailable", str(settled[0])), CONTENT_TYPE, b""
        if settled[0].settled is SettledAs.UNKNOWN:
            raise RequestRejected(
                "report.unknown", "the gate let in no upload of this id for this account, or did so long ago"
            )
        return 200, encode_report(answers[0]), JSON, b""

    def _told(self, request: CheckRequest, ignored: Ignored) -> Ignored:
        """Count and return the fields that the answer names as ignored, also a class that the policy does not have.

        Kinds, surfaces and countries that the policy does not list are counted, and stay in the check.
        """
        policy, class_ = self._check.policy, request.account.class_
        unlisted = policy.known.unlisted(request)
        if not policy.has_class(class_):
            ignored = {**ignored, "account.class": CLASS_UNKNOWN}
        elif not unlisted:
            self._listed_now().add(labels_of(request))
        if ignored:
            self._check.counts.ignored(ignored)
        for field in unlisted:
            self._check.counts.unlisted[field] += 1
        return ignored

    def _listed_now(self) -> set[Labels]:
        """Class, kind, surface and country of checks, as far as they were found to be listed in the policy in force."""
        if self._check.policy is not self._listed_by or len(self._listed) > MOST_LISTED:
            self._listed_by = self._check.policy
            self._listed.clear()
        return self._listed

    async def _metrics(self, request: HotRequest) -> Response:
        kind, body = self._health.metrics()
        return 200, body, kind, b""

    async def _alive(self, request: HotRequest) -> Response:
        return 200, b"alive\n", TEXT, b""

    async def _ready(self, request: HotRequest) -> Response:
        return 200, self._health.ready(), JSON, b""


def path_of(target: bytes) -> bytes:
    """The path of a target that may have a query, a host or escapes."""
    try:
        path = httptools.parse_url(target).path or b""
    except httptools.HttpParserInvalidURLError:
        return target
    return unquote_to_bytes(path) if b"%" in path else path


def _require_json(content_type: bytes) -> None:
    kind = content_type.partition(b";")[0].strip().lower()
    if kind != JSON and not kind.endswith(b"+json"):
        detail = "send the body as JSON, with the header content-type: application/json"
        raise RequestRejected("media_type.unsupported", detail)
