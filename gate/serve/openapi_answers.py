"""What each field and header of an answer says, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

DECISION: Final = {
    "upload_id": "The upload's id, as the check gave it.",
    "decision": "`allow` and `review` let the upload in; all others refuse it, `throttle` and `paused` for now.",
    "stage": "The stage that decided. Stages follow a fixed order, and the first that decides ends the check.",
    "reason": "The reason within the stage, such as the name of a limit, a signal or a pause's reason.",
    "retry_after": "Seconds after which a retry may pass; null where waiting does not help, or the upload is let in.",
    "reservation": "Names the upload in a report of how it ended; null where nothing was reserved.",
    "pause": "The id of the pause that decided.",
    "policy": "The hash of the policy in force.",
    "board_rev": "The revision of the pauses that the gate knew.",
    "appeal": "A code that an uploader who was refused can give to your staff; it names this decision.",
    "degraded": "The stores that the gate could not reach, such as `store` for Redis; empty if it reached all.",
    "ignored": "The fields of the check that broke their rule, and a class that the policy does not have.",
    "message": "A text for the uploader from the pause that decided.",
    "link": "A link beside the message.",
}
LEFT: Final = {
    "limit": "The name of the limit.",
    "unit": "What it counts: `uploads`, `bytes`, or `in_flight` for uploads that nobody has reported yet.",
    "burst": "How many units fit at once.",
    "left": "How many units fit now.",
    "full_in": "Seconds until all of the burst fits again.",
    "leased": "How many of the units left are in the lease of the gate that answers.",
}
SETTLED: Final = {
    "upload_id": "The upload's id.",
    "status": "`settled`, `repeated`, `expired`, `unknown`, or `error`: send a report with `error` again.",
    "outcome": "What became of the tokens: the outcome first reported, or `kept` or `given_back` at expiry.",
}
HEADERS: Final[dict[str, Any]] = {
    "RateLimit-Policy": "The limit with the least room, or the one that refused: its burst and the time that fills it.",
    "RateLimit": "The same limit: what is left, and in how many seconds that changes.",
    "Retry-After": "Whole seconds after which a retry may pass, where waiting helps.",
}


def described(schema: dict[str, Any], fields: dict[str, str]) -> dict[str, Any]:
    """The schema of an object with a description of each field. Raises KeyError for a field that has none."""
    properties = {name: {**of, "description": fields[name]} for name, of in schema["properties"].items()}
    return {**schema, "properties": properties}


def headers() -> dict[str, Any]:
    """The headers of an answer to one check or peek."""
    return {
        name: {"description": text, "required": False, "schema": {"type": "string"}} for name, text in HEADERS.items()
    }
