"""The OpenAPI 3.1 document of a gate's ports. `python -m gate.serve.openapi` writes it into config/schemas.

Bodies of checks follow the table of field rules, answers the records that are sent, and problems the closed list of
reasons. A test holds the paths to the routes of the apps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec

from gate.app.policy_trial import SAMPLES
from gate.core.decision import Stage, Verdict
from gate.core.fields import MessageType
from gate.core.fields.ids import MAX_ID_BYTES
from gate.core.fields.rules import MAX_UPLOAD_BYTES
from gate.core.limits.reservation import UploadOutcome
from gate.records.check import MAX_BATCH_CHECKS
from gate.records.decision import Answer, PartialAnswer
from gate.records.field_schemas import message_schema
from gate.records.peek import PeekAnswer
from gate.records.report import MAX_REPORTS, ReportAnswer
from gate.serve.openapi_answers import DECISION, LEFT, SETTLED, described, headers
from gate.serve.problems import ALL_REASONS, Problem, status_of

FILE: Final = "openapi.json"
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
TOML: Final = "application/toml"
EVENTS: Final = "text/event-stream"
TEXT: Final = "text/plain"


class Port(StrEnum):
    """The ports of a gate. `PAGES` are on the check port, or on a port of their own beyond loopback."""

    CHECK = "check"
    PAGES = "pages"
    ADMIN = "admin"


_SERVERS: Final = {
    Port.CHECK: [{"url": "http://127.0.0.1:8390", "description": "The check port."}],
    Port.PAGES: [
        {"url": "http://127.0.0.1:8390", "description": "The check port, while it is on loopback."},
        {
            "url": "http://127.0.0.1:8393",
            "description": "The port for metrics and health, beyond loopback or if one is set.",
        },
    ],
    Port.ADMIN: [{"url": "http://127.0.0.1:8391", "description": "The admin port."}],
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `takes` and `gives` are pairs of a media type and a schema; `refuses` are reasons."""

    port: Port
    method: str
    path: str
    summary: str
    gives: tuple[str, Any]
    takes: tuple[str, Any] | None = None
    refuses: tuple[str, ...] = ()
    status: int = 200
    parameters: tuple[dict[str, Any], ...] = ()
    empty: tuple[str, ...] = ()
    """Further statuses, without a body."""


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: Any) -> dict[str, Any]:
    """An object that has at least these properties."""
    return {"type": "object", "properties": properties, "required": list(properties)}


_STRING: Final = {"type": "string"}
_WITH_LIMITS: Final = ("/v1/check", "/v1/peek")
"""Paths whose answers tell of limits in their headers."""
_BODY: Final = (
    "body.malformed", "body.too_large", "body.incomplete", "field.missing", "field.invalid", "id.too_long",
    "media_type.unsupported", "content_encoding.unsupported", "token.missing", "token.unknown", "fault.internal",
    "request.timeout", "header.too_large", "connections.too_many",
)  # fmt: skip
_ONE: Final = (*_BODY, "upload.reused")
_BATCH: Final = (*_BODY, "batch.empty", "batch.too_large")
_ADMIN: Final = ("host.refused", "token.missing", "token.unknown", "fault.internal")
_CHANGES: Final = (*_ADMIN, "origin.refused")
_FOR: Final = {
    "name": "for", "in": "query", "required": False, "schema": {"type": "string", "default": "10m"},
    "description": "How long the trial runs, such as 30m; at most 24h.",
}  # fmt: skip
_WAIT: Final = {
    "name": "wait", "in": "query", "required": False, "schema": {"type": "number", "minimum": 0, "maximum": 60},
    "description": "Seconds to wait for another board than the one of If-None-Match.",
}  # fmt: skip
_HELD: Final = {
    "name": "If-None-Match", "in": "header", "required": False, "schema": _STRING,
    "description": "The ETag of the board that the caller has; 304 while it still holds.",
}  # fmt: skip

OPERATIONS: Final = (
    Operation(
        Port.CHECK, "post", "/v1/check", "Decide about one upload. The status is 200 whatever the decision is.",
        (JSON, _ref("Decision")), (JSON, _ref("Check")), _ONE,
    ),
    Operation(
        Port.CHECK, "post", "/v1/peek", "What the gate would decide, and what is left of each limit. It takes no tokens.",
        (JSON, _ref("Peek")), (JSON, _ref("Check")), (*_ONE, "store.unavailable"),
    ),
    Operation(
        Port.CHECK, "post", "/v1/reports", "Report how uploads ended. A failed upload gives its tokens back.",
        (JSON, {"anyOf": [_ref("Settled"), _object(reports={"type": "array", "items": _ref("Settled")})]}),
        (JSON, {"anyOf": [_ref("Report"), _ref("Reports")]}), (*_BATCH, "report.unknown", "store.unavailable"),
    ),
    Operation(
        Port.CHECK, "post", "/v1/checks", "Decide about a batch of uploads, in its order.",
        (JSON, _ref("Decisions")), (JSON, _ref("Checks")), _BATCH,
    ),
    Operation(Port.PAGES, "get", "/metrics", "The metrics of this process, for Prometheus.", (TEXT, _STRING)),
    Operation(Port.PAGES, "get", "/healthz", "Whether the process runs.", (TEXT, _STRING)),
    Operation(Port.PAGES, "get", "/readyz", "Which of the gate's servers answer, and its policy.", (JSON, _ref("Ready"))),
    Operation(
        Port.ADMIN, "get", "/v1/board", "The pauses that the gate knows; with `wait` it first waits for a change.",
        (JSON, _ref("Board")), None, (*_ADMIN, "field.invalid"), 200, (_WAIT, _HELD), ("304",),
    ),
    Operation(
        Port.ADMIN, "get", "/v1/board/events", "The board at once and after each change, as server-sent events.",
        (EVENTS, _STRING), None, (*_ADMIN, "connections.too_many"),
    ),
    Operation(Port.ADMIN, "get", "/v1/policy", "The policy in force, as read.", (JSON, _ref("Policy")), None, _ADMIN),
    Operation(
        Port.ADMIN, "get", "/v1/policy/document", "The policy in force as a policy file with every default.",
        (TOML, _STRING), None, _ADMIN,
    ),
    Operation(
        Port.ADMIN, "get", "/v1/policy/trial", "What the last trial of a policy has counted.",
        (JSON, _ref("Trial")), None, (*_ADMIN, "trial.none"),
    ),
    Operation(
        Port.ADMIN, "post", "/v1/policy/trial", "Try a policy in shadow on the gate's live traffic.",
        (JSON, _ref("Trial")), (TOML, _STRING),
        (*_CHANGES, "policy.invalid", "trial.running", "media_type.unsupported", "content_encoding.unsupported"), 201, (_FOR,),
    ),
    Operation(
        Port.ADMIN, "delete", "/v1/policy/trial", "End the trial, and return what it has counted.",
        (JSON, _ref("Trial")), None, (*_CHANGES, "trial.none"),
    ),
    Operation(Port.ADMIN, "get", "/v1/stats", "Counters since the start.", (JSON, _ref("Stats")), None, _ADMIN),
    Operation(Port.ADMIN, "get", "/healthz", "Whether the process runs.", (TEXT, _STRING)),
    Operation(Port.ADMIN, "get", "/openapi.json", "This document.", (JSON, {"type": "object"}), None, _ADMIN),
)  # fmt: skip
"""Every operation of a gate. `/healthz` is on two ports and stands in the document once."""


def openapi() -> bytes:
    """The document as indented JSON with a newline at its end."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {}).setdefault(operation.method, _operation(operation))
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Upload Gate",
            "version": "1",
            "description": "A decision is always a 200. A 4xx is the caller's mistake, a 5xx the gate's fault and no decision.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": _SERVERS[Port.CHECK],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _SECURITY},
    }
    return json.dumps(document, indent=1).encode() + b"\n"


_SECURITY: Final = {
    "check": {"type": "http", "scheme": "bearer", "description": "A token of `upload-gate token new NAME`."},
    "admin": {"type": "http", "scheme": "bearer", "description": "A token of `upload-gate token new NAME --admin`."},
}


def _operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": f"{operation.method}{operation.path.replace('/', '_').replace('.', '_')}",
        "summary": operation.summary,
        "servers": _SERVERS[operation.port],
        "responses": _responses(operation),
    }
    if operation.port is not Port.PAGES and operation.path != "/healthz":
        found["security"] = [{}, {operation.port.value: []}]
    if operation.parameters:
        found["parameters"] = list(operation.parameters)
    if operation.takes is not None:
        kind, schema = operation.takes
        found["requestBody"] = {"required": True, "content": {kind: {"schema": schema}}}
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    kind, schema = operation.gives
    responses: dict[str, Any] = {
        str(operation.status): {"description": operation.summary, "content": {kind: {"schema": schema}}}
    }
    if operation.path in _WITH_LIMITS:
        responses[str(operation.status)]["headers"] = headers()
    for empty in operation.empty:
        responses[empty] = {"description": HTTPStatus(int(empty)).phrase}
    by_status: dict[int, list[str]] = {}
    for reason in operation.refuses:
        by_status.setdefault(status_of(reason), []).append(reason)
    if "host.refused" in operation.refuses:
        by_status.setdefault(HTTPStatus.BAD_REQUEST, []).append("host.refused")
    for status, reasons in sorted(by_status.items()):
        responses[str(status)] = {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{reason}`' for reason in reasons)}",
            "content": {PROBLEM: {"schema": _ref("Problem")}},
        }
    return responses


def _schemas() -> dict[str, Any]:
    _, records = msgspec.json.schema_components(
        [Answer, PartialAnswer, PeekAnswer, Problem, ReportAnswer], ref_template="#/components/schemas/{name}"
    )
    decision = records[PartialAnswer.__name__]
    decision["required"] = records[Answer.__name__]["required"]
    decision["description"] = (
        "A decision, fit to be shown to the uploader. `ignored` is absent where no field was ignored, "
        "`message` and `link` where no pause tells uploaders anything."
    )
    decision["properties"]["decision"] = {"enum": [verdict.value for verdict in Verdict]}
    decision["properties"]["stage"] = {"enum": [stage.value for stage in Stage]}
    peek = records[PeekAnswer.__name__]
    peek["properties"]["decision"] = _ref("Decision")
    problem = records[Problem.__name__]
    problem["properties"]["reason"] = {"enum": sorted(ALL_REASONS)}
    return {
        "Check": message_schema(MessageType.CHECK, "May this account upload this now?", {}),
        "Checks": _object(
            checks={"type": "array", "minItems": 1, "maxItems": MAX_BATCH_CHECKS, "items": _ref("Check")}
        ),
        "Decision": _titled(described(decision, DECISION), "Decision"),
        "Decisions": _object(decisions={"type": "array", "items": _ref("Decision")}),
        "Peek": _titled(peek, "Peek"),
        "Left": described(records["Left"], LEFT),
        "Report": _REPORT,
        "Reports": _object(reports={"type": "array", "minItems": 1, "maxItems": MAX_REPORTS, "items": _ref("Report")}),
        "Settled": _titled(described(records[ReportAnswer.__name__], SETTLED), "Settled"),
        "Problem": _titled(problem, "Problem"),
        **_PAGES,
    }


def _titled(schema: dict[str, Any], title: str) -> dict[str, Any]:
    return {**schema, "title": title}


_COUNT: Final = {"type": "integer", "minimum": 0}
_ID: Final = {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}
_REPORT: Final = {
    "type": "object",
    "description": "How one upload ended, named by account and upload id, or by the reservation of the answer.",
    "properties": {
        "account": _object(id=_ID),
        "upload_id": _ID,
        "reservation": _STRING,
        "outcome": {"enum": [outcome.value for outcome in UploadOutcome]},
        "bytes": {"type": "integer", "minimum": 0, "maximum": MAX_UPLOAD_BYTES, "description": "What was stored."},
    },
    "required": ["outcome"],
    "anyOf": [{"required": ["reservation"]}, {"required": ["account", "upload_id"]}],
}
_SECONDS: Final = {"type": "number", "minimum": 0}
_BOOLEAN: Final = {"type": "boolean"}
_OR_NULL: Final = {"type": ["string", "null"]}
_STRINGS: Final = {"type": "array", "items": _STRING}
_OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
_COUNTS: Final = {"type": "object", "additionalProperties": _COUNT}
_PAGES: Final = {
    "Ready": _object(
        gate=_STRING, ready=_BOOLEAN, degraded=_BOOLEAN, account_store=_STRING, board=_STRING, board_age_s=_SECONDS,
        board_rev=_COUNT, board_digest=_STRING, board_latest=_STRINGS, board_lifted=_STRINGS, board_on_disk=_BOOLEAN,
        store_us=_COUNT, policy=_STRING, policy_problem=_OR_NULL, salt_differs={"type": "boolean"}, instances=_COUNT,
    ),
    "Board": _object(
        version=_COUNT, rev=_COUNT, digest=_STRING, age_s=_SECONDS, store_answers=_BOOLEAN, on_disk=_BOOLEAN,
        pauses=_OBJECTS, scheduled=_OBJECTS, ended=_OBJECTS, unreadable=_OBJECTS,
    ),
    "Policy": _object(
        hash=_STRING, classes=_STRINGS, default_class=_STRING, limits=_OBJECTS,
        thresholds={"type": "object"}, reasons=_STRINGS, deny_accounts=_COUNT,
        known={"type": "object"}, problem=_OR_NULL,
    ),
    "Stats": _object(
        decisions=_COUNTS, rows=_OBJECTS, store_errors=_COUNTS, rejected=_COUNTS, degraded=_COUNT, shed=_COUNT,
        dropped=_COUNT, uptime_s=_SECONDS,
    ),
    "Trial": _object(
        running=_BOOLEAN,
        ended={
            "enum": ["time", "request", "fault", None],
            "description": "Why the trial is over: its time, a request, or a fault in comparing a check; null while it runs.",
        },
        policy=_STRING, in_force=_STRING, started_us=_COUNT, until_us=_COUNT, checks=_COUNT,
        without_store={
            **_COUNT,
            "description": "Checks that were not compared, because the gate decided them while its Redis did not answer.",
        },
        different=_COUNT,
        differences={"type": "array", "items": _object(**{
            "class": _STRING, "decision": _STRING, "reason": _STRING, "would": _STRING, "would_reason": _STRING,
            "count": _COUNT,
            "samples": {"type": "array", "maxItems": SAMPLES, "items": _object(
                upload_id=_STRING, account=_STRING, at_us=_COUNT,
            )},
        })},
    ),
}  # fmt: skip
"""The schemas of the pages, which later releases may add to."""


if __name__ == "__main__":
    (Path(__file__).parents[2] / "config" / "schemas" / FILE).write_bytes(openapi())
