"""The route of policy trials: POST begins one with a candidate policy, GET shows what it has counted, DELETE ends it.

One gate runs one trial at a time. A trial ends by itself after its time, and its result stays until the next one. `ended` of the
result says why a trial is over: `time`, `request`, or `fault` where comparing a check failed; null while it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gate.app.check import Check
from gate.app.policy_trial import PolicyTrial
from gate.app.without_store import LocalTake
from gate.core.duration import parse_duration_us
from gate.core.pseudonym import Pseudonyms
from gate.errors import RequestRejected
from gate.policyfile import MAX_FILE_BYTES, check_policy
from gate.ports.clock import Clock
from gate.serve.admin.responses import admin_response, refusal
from gate.serve.problems import ACCEPTED, require_identity

TRIAL_PATH: Final = "/v1/policy/trial"
CANDIDATE_TYPE: Final = b"application/toml"
MOST: Final = "24h"
_encode = msgspec.json.Encoder(order="deterministic").encode


class PolicyTrials:
    """The trials of one gate. `local` makes the buckets of a trial, `names` the pseudonyms of networks and devices."""

    methods: Mapping[str, str] = {"GET": "shows", "POST": "begins", "DELETE": "ends"}

    def __init__(self, check: Check, names: Pseudonyms, clock: Clock, local: Callable[[int], LocalTake]) -> None:
        self._check = check
        self._names = names
        self._clock = clock
        self._local = local
        self._last: PolicyTrial | None = None
        self._why_ended: str | None = None

    async def route(self, request: Request) -> Response:
        """One request."""
        match request.method:
            case "POST":
                return await self._begin(request)
            case "DELETE":
                self._why_ended = "request" if self._running() else self._ended()
                self._check.trial = None
        return self._shown(200)

    async def _begin(self, request: Request) -> Response:
        if self._running():
            return refusal("trial.running", "a trial runs already; end it with DELETE first")
        if request.headers.get("content-type", "").partition(";")[0].strip().encode() != CANDIDATE_TYPE:
            return refusal("media_type.unsupported", f"send the candidate as {CANDIDATE_TYPE.decode()}")
        try:
            require_identity(", ".join(request.headers.getlist("content-encoding")).encode("latin-1"))
        except RequestRejected as error:
            response = refusal(error.reason, error.problem)
            response.headers.update({name.decode(): value.decode() for name, value in (ACCEPTED,)})
            return response
        try:
            now_us, span_us = self._clock.now_us(), parse_duration_us(request.query_params.get("for", "10m"), MOST)
            if span_us > parse_duration_us(MOST):
                raise ValueError(f"a trial takes at most {MOST}")
        except ValueError as error:
            return refusal("policy.invalid", f"for: {error}")
        text = await _body(request)
        if text is None:
            return refusal("policy.invalid", f"a policy is UTF-8 text of at most {MAX_FILE_BYTES} bytes")
        # in a thread, as checks go on: a policy that denies many accounts takes long to read
        candidate, complaints = await asyncio.to_thread(check_policy, text, "the candidate")
        if candidate is None:
            return refusal("policy.invalid", "; ".join(map(str, complaints[:20])))
        if self._running():  # another one began meanwhile
            return refusal("trial.running", "a trial runs already; end it with DELETE first")
        check = self._check
        self._last = PolicyTrial(candidate, self._names, self._local, check.instances, now_us, now_us + span_us)
        check.trial, self._why_ended = self._last, None
        return self._shown(201)

    def _running(self) -> bool:
        trial = self._check.trial
        return trial is not None and self._clock.now_us() < trial.until_us

    def _ended(self) -> str | None:
        """Why the last trial is over. A check takes a trial away that failed; one whose time is over stays there."""
        if self._why_ended is None and self._last is not None and not self._running():
            self._why_ended = "fault" if self._check.trial is None else "time"
        return self._why_ended

    def _shown(self, status: int) -> Response:
        trial = self._last
        if trial is None:
            return refusal("trial.none", "no trial was begun since this gate started")
        return admin_response(_encode(self._result(trial)), status, b"application/json")

    def _result(self, trial: PolicyTrial) -> dict[str, object]:
        counted = sorted(trial.counts.items(), key=lambda item: -item[1])
        return {
            "running": self._running(),
            "ended": self._ended(),
            "policy": trial.candidate.hash,
            "in_force": self._check.policy.hash,
            "started_us": trial.started_us,
            "until_us": trial.until_us,
            "checks": trial.checks,
            "without_store": trial.without_store,
            "different": sum(trial.counts.values()),
            "differences": [
                {**{name.rstrip("_"): value for name, value in kind._asdict().items()}, "count": count,
                 "samples": trial.samples[kind]}
                for kind, count in counted
            ],
        }  # fmt: skip


async def _body(request: Request) -> str | None:
    """The body as text; None if it is too long, no UTF-8, or never complete."""
    data = bytearray()
    try:
        async for part in request.stream():
            data += part
            if len(data) > MAX_FILE_BYTES:
                return None
        return data.decode()
    except (UnicodeDecodeError, ClientDisconnect):
        return None
