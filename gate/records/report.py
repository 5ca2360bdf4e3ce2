"""Bytes → reports, settlements → bytes: the bodies of `/v1/reports`.

A report names an upload by account and upload id, or by the `reservation` of the check's answer. Ids are read as those of a
check, so that a report meets the check it is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gate.core.fields.ids import key
from gate.core.fields.parse import NotJson, parse
from gate.core.fields.reasons import FieldRefused, Unusable
from gate.core.fields.required import NO_OBJECT, problem_with, reason_of
from gate.core.fields.rules import MAX_UPLOAD_BYTES
from gate.core.limits.reservation import Report, ReservationState, SettledAs, Settlement, UploadOutcome
from gate.errors import RequestRejected
from gate.records.decision import ReservationSigner

MAX_REPORTS: Final = 256
MAX_REPORTS_BYTES: Final = 1 << 18

_OUTCOMES: Final = {
    ReservationState.COMMITTED: "committed",
    ReservationState.FAILED: "failed",
    ReservationState.ABORTED: "aborted",
    ReservationState.KEPT: "kept",
    ReservationState.RETURNED: "given_back",
}


class ReportAnswer(msgspec.Struct, frozen=True):
    """The result of one report. `status` is `settled`, `repeated` (an earlier report settled it), `expired` or
    `unknown`.

    `outcome` is what became of the tokens: the outcome first reported, or at expiry `kept` or `given_back`; null where the
    upload is unknown. With status `error` the store did not answer; send the report again.
    """

    upload_id: str
    status: str
    outcome: str | None


class _ReportAnswers(msgspec.Struct, frozen=True):
    reports: list[ReportAnswer]


_encode = msgspec.json.Encoder().encode


def decode_reports(body: bytes, signer: ReservationSigner) -> tuple[list[Report], bool]:
    """The reports of a body, and whether they came as a list. Raises RequestRejected; one bad report rejects the list."""
    if len(body) > MAX_REPORTS_BYTES:
        raise RequestRejected("body.too_large", f"reports have at most {MAX_REPORTS_BYTES} bytes")
    try:
        document = parse(body)
    except NotJson as error:
        raise RequestRejected("body.malformed", f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise RequestRejected("field.invalid", NO_OBJECT)
    if "reports" not in document:
        return [_report(document, "", signer)], False
    reports = document["reports"]
    if not isinstance(reports, list):
        raise RequestRejected("field.invalid", "must be an array", "reports")
    if not reports:
        raise RequestRejected("batch.empty", "a list has at least one report", "reports")
    if len(reports) > MAX_REPORTS:
        raise RequestRejected("batch.too_large", f"a list has at most {MAX_REPORTS} reports", "reports")
    return [_report(raw, f"reports[{n}].", signer) for n, raw in enumerate(reports)], True


def _report(raw: object, place: str, signer: ReservationSigner) -> Report:
    if not isinstance(raw, dict):
        raise RequestRejected("field.invalid", NO_OBJECT, place.rstrip(".") or None)
    account, upload_id, began_us = _named(raw, place, signer)
    try:
        outcome = UploadOutcome(_required(raw, "outcome", place))
    except ValueError:
        raise RequestRejected("field.invalid", f"is one of {', '.join(UploadOutcome)}", f"{place}outcome") from None
    size = raw.get("bytes")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_UPLOAD_BYTES):
        detail = f"is a whole number of bytes from 0 to {MAX_UPLOAD_BYTES}"
        raise RequestRejected("field.invalid", detail, f"{place}bytes")
    return Report(account, upload_id, outcome, size, began_us)


def _named(raw: Mapping[str, object], place: str, signer: ReservationSigner) -> tuple[str, str, int | None]:
    """Account, upload, and when the reservation began, where the report names it."""
    token = raw.get("reservation")
    if token is not None:
        upload = signer.read(token) if isinstance(token, str) else None
        if upload is None:
            raise RequestRejected("field.invalid", "is not a reservation of these gates", f"{place}reservation")
        return upload
    account = raw.get("account")
    if account is None:
        raise RequestRejected("field.missing", "is required, or `reservation` in its place", f"{place}account.id")
    if not isinstance(account, dict):
        raise RequestRejected("field.invalid", NO_OBJECT, f"{place}account")
    return _id(account, "id", f"{place}account."), _id(raw, "upload_id", place), None


def _id(raw: Mapping[str, object], name: str, place: str) -> str:
    value = _required(raw, name, place)
    try:
        return key(value)
    except Unusable as unusable:
        refused = FieldRefused("account.id" if name == "id" else name, unusable.reason)
        raise RequestRejected(reason_of(refused), problem_with(refused), f"{place}{name}") from None


def _required(raw: Mapping[str, object], name: str, place: str) -> str:
    value = raw.get(name)
    if value is None:
        raise RequestRejected("field.missing", "is required", f"{place}{name}")
    if not isinstance(value, str):
        raise RequestRejected("field.invalid", "must be a string", f"{place}{name}")
    return value


def report_answer(report: Report, settled: Settlement | Exception) -> ReportAnswer:
    """The answer to the sender of a report."""
    if isinstance(settled, Exception):
        return ReportAnswer(report.upload_id, "error", None)
    known = settled.state is not None and settled.settled is not SettledAs.UNKNOWN
    return ReportAnswer(
        report.upload_id, settled.settled, _OUTCOMES.get(settled.state) if known and settled.state else None
    )


def encode_report(answer: ReportAnswer) -> bytes:
    """The body that answers one report."""
    return _encode(answer)


def encode_reports(answers: Sequence[ReportAnswer]) -> bytes:
    """The body that answers a list of reports, in its order."""
    return _encode(_ReportAnswers(list(answers)))
