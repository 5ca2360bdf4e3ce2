"""Reservations over real HTTP: reports, peeks, one upload id with other content, and the fields that tell of limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.records.decision import ReservationSigner
from tests.edges.running_gate import CHECK, Gate, running_gate

GIB = 1 << 30
"""Large enough that what refills while a test runs does not matter."""
ITEM = re.compile(r'"([^"]+)";r=(\d+);t=(\d+)')


def committed(**given: object) -> dict[str, object]:
    return {"account": {"id": "a-1"}, "upload_id": "u-1", "outcome": "committed", **given}


async def left(gate: Gate) -> dict[str, Any]:
    """What is left of each limit of account a-1."""
    peeked = await gate.post("/v1/peek", {**CHECK, "upload_id": "peek"})
    return {each["limit"]: each["left"] for each in peeked.json["limits"]}


async def test_an_upload_that_is_let_in_is_reserved_and_its_reservation_settles_it_once(tmp_path: Path) -> None:
    async with running_gate(tmp_path, takes_reports=True) as gate:
        before = await left(gate)
        checked = await gate.post("/v1/check", {**CHECK, "media": {"kind": "image", "bytes": GIB}})
        taken = await left(gate)
        report = {"reservation": checked.json["reservation"], "outcome": "failed"}
        first, second = await gate.post("/v1/reports", report), await gate.post("/v1/reports", report)
        after = await left(gate)

    assert taken["account.uploads.minute"] == before["account.uploads.minute"] - 1
    assert before["account.bytes.day"] - taken["account.bytes.day"] == pytest.approx(GIB, rel=0.01)
    assert after == before
    assert (first.status, first.json) == (200, {"upload_id": "u-1", "status": "settled", "outcome": "failed"})
    assert (second.status, second.json) == (200, {"upload_id": "u-1", "status": "repeated", "outcome": "failed"})


async def test_a_report_that_is_sent_again_gives_back_nothing_of_a_check_in_between(tmp_path: Path) -> None:
    check = {**CHECK, "media": {"kind": "image", "bytes": GIB}}
    async with running_gate(tmp_path, takes_reports=True) as gate:
        first = await gate.post("/v1/check", check)
        repeated = await gate.post("/v1/check", check)
        report = {"reservation": first.json["reservation"], "outcome": "failed"}
        await gate.post("/v1/reports", report)
        anew = await gate.post("/v1/check", check)
        taken = await left(gate)

        again = await gate.post("/v1/reports", report)
        after = await left(gate)
        done = await gate.post("/v1/reports", {"reservation": anew.json["reservation"], "outcome": "committed"})

    assert first.json["reservation"] == repeated.json["reservation"] != anew.json["reservation"]
    assert (again.status, again.json["reason"]) == (404, "report.unknown")
    assert after["account.uploads.minute"] == taken["account.uploads.minute"]
    assert done.json["status"] == "settled"


async def test_a_list_of_reports_is_answered_in_its_order_whatever_each_meets(tmp_path: Path) -> None:
    async with running_gate(tmp_path, takes_reports=True) as gate:
        await gate.post("/v1/check", {**CHECK, "media": {"kind": "image", "bytes": GIB}})
        before = await left(gate)
        reports = [committed(bytes=GIB // 2), committed(upload_id="never"), committed(outcome="aborted")]
        reply = await gate.post("/v1/reports", {"reports": reports})
        after = await left(gate)

    assert reply.status == 200
    assert [(each["status"], each["outcome"]) for each in reply.json["reports"]] == [
        ("settled", "committed"),
        ("unknown", None),
        ("repeated", "committed"),
    ]
    assert after["account.bytes.day"] - before["account.bytes.day"] == pytest.approx(GIB // 2, rel=0.01)


async def test_a_report_of_an_unknown_upload_alone_is_a_404(tmp_path: Path) -> None:
    async with running_gate(tmp_path, takes_reports=True) as gate:
        reply = await gate.post("/v1/reports", committed())

    assert (reply.status, reply.json["reason"]) == (404, "report.unknown")


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        (b"{", "body.malformed", None),
        (b"[]", "field.invalid", None),
        ({}, "field.missing", "account.id"),
        ({"account": "a"}, "field.invalid", "account"),
        ({"account": {"id": 7}, "upload_id": "u", "outcome": "failed"}, "field.invalid", "account.id"),
        ({"account": {"id": "a"}, "outcome": "failed"}, "field.missing", "upload_id"),
        (committed(outcome="lost"), "field.invalid", "outcome"),
        (committed(outcome=None), "field.missing", "outcome"),
        (committed(bytes=-1), "field.invalid", "bytes"),
        (committed(bytes=True), "field.invalid", "bytes"),
        (committed(bytes=1 << 41), "field.invalid", "bytes"),
        (committed(upload_id="x" * 300), "id.too_long", "upload_id"),
        ({"reservation": "0.1.au", "outcome": "failed"}, "field.invalid", "reservation"),
        ({"reservation": 5, "outcome": "failed"}, "field.invalid", "reservation"),
        ({"reports": []}, "batch.empty", "reports"),
        ({"reports": 5}, "field.invalid", "reports"),
        ({"reports": [committed(), {"outcome": "failed"}]}, "field.missing", "reports[1].account.id"),
    ],
)
async def test_a_report_that_cannot_be_read_names_the_field(
    tmp_path: Path, body: object, reason: str, field: str | None
) -> None:
    async with running_gate(tmp_path, takes_reports=True) as gate:
        reply = await gate.post("/v1/reports", body)

    assert (reply.status, reply.json["reason"], reply.json.get("field")) == (400, reason, field)


async def test_one_upload_id_with_other_content_is_a_409_and_takes_nothing(tmp_path: Path) -> None:
    other = {**CHECK, "media": {"kind": "image", "bytes": 1 << 30}}
    async with running_gate(tmp_path, takes_reports=True) as gate:
        await gate.post("/v1/check", CHECK)
        before = await left(gate)
        alone = await gate.post("/v1/check", other)
        peeked = await gate.post("/v1/peek", other)
        batch = await gate.post("/v1/checks", {"checks": [other, {**CHECK, "upload_id": "u-2"}]})
        after = await left(gate)

    assert (alone.status, alone.json["reason"], alone.json["field"]) == (409, "upload.reused", "upload_id")
    assert peeked.status == 409
    assert [(each["decision"], each["stage"], each["reason"]) for each in batch.json["decisions"]] == [
        ("deny", "reservation", "upload.reused"),
        ("allow", "default", "allow"),
    ]
    assert after["account.uploads.minute"] == before["account.uploads.minute"] - 1


async def test_checks_and_peeks_tell_of_their_limits_in_the_fields_of_the_draft(tmp_path: Path) -> None:
    async with running_gate(tmp_path, takes_reports=True) as gate:
        checks = [await gate.post("/v1/check", {**CHECK, "upload_id": f"u-{n}"}) for n in range(6)]
        peeked = await gate.post("/v1/peek", {**CHECK, "upload_id": "u-9"})

    told = [ITEM.fullmatch(reply.headers["ratelimit"]) for reply in checks]
    assert [None if item is None else (item[1], int(item[2])) for item in told] == [
        ("account.uploads.minute", n) for n in (4, 3, 2, 1, 0, 0)
    ]
    assert {reply.headers["ratelimit-policy"] for reply in checks} == {'"account.uploads.minute";q=5;w=100'}
    assert "retry-after" not in checks[4].headers
    assert checks[5].json["retry_after"] <= int(checks[5].headers["retry-after"]) <= 20
    assert peeked.headers["retry-after"] == "20"
    assert len(ITEM.findall(peeked.headers["ratelimit"])) == len(peeked.json["limits"]) >= 6
    assert peeked.json["decision"]["decision"] == "throttle"
    assert peeked.json["decision"]["reservation"] is None
    assert {each["unit"] for each in peeked.json["limits"]} == {"uploads", "bytes"}


async def test_a_gate_without_reports_does_not_know_the_path(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await gate.post("/v1/reports", committed())

    assert reply.status == 404
    assert reply.json["reason"] == "path.unknown"


ids = st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable())


@given(ids, ids)
def test_a_reservation_names_its_upload_and_no_other(account: str, upload_id: str) -> None:
    signer = ReservationSigner(b"salt")

    reservation = signer.sign(account, upload_id, 1_800_000_000_000_000)

    assert signer.read(reservation) == (account, upload_id, 1_800_000_000_000_000)
    assert ReservationSigner(b"other").read(reservation) is None
    for n in range(len(reservation)):
        assert signer.read(reservation[:n] + ("0" if reservation[n] != "0" else "1") + reservation[n + 1 :]) is None


@given(st.text(max_size=60))
def test_text_that_is_no_reservation_names_nothing(text: str) -> None:
    assert ReservationSigner(b"salt").read(text) is None
