"""Malformed requests: a problem that names the field, never a decision, never a 5xx, and nothing breaks behind it."""

import json
from pathlib import Path
from typing import Any

import pytest

from gate.serve.problems import ALL_REASONS
from tests.edges.running_gate import CHECK, raw, running_gate

DEEP = b'{"upload_id":' + b"[" * 60_000


def changed(**given: Any) -> dict[str, Any]:
    return {**CHECK, **given}


CASES = [
    (b"", 400, "body.malformed", None),
    (b"null", 400, "field.invalid", None),
    (b"[]", 400, "field.invalid", None),
    (b"{", 400, "body.malformed", None),
    (b"\xff\xfe", 400, "body.malformed", None),
    (DEEP, 400, None, None),
    (b'{"upload_id":"\\ud800","account":{"id":"a"},"media":{"kind":"i"}}', 400, "field.invalid", "upload_id"),
    ({}, 400, "field.missing", "upload_id"),
    (changed(account={}), 400, "field.missing", "account.id"),
    (changed(account="a"), 400, "field.invalid", "account"),
    (changed(media={}), 400, "field.missing", "media.kind"),
    (changed(media=None), 400, "field.missing", "media.kind"),
    (changed(media=[]), 400, "field.invalid", "media"),
    (changed(upload_id=7), 400, "field.invalid", "upload_id"),
    (changed(upload_id=""), 400, "field.invalid", "upload_id"),
    (changed(upload_id="undefined"), 400, "field.invalid", "upload_id"),
    (changed(upload_id="u\u200b1"), 400, "field.invalid", "upload_id"),
    (changed(upload_id="x" * 257), 400, "id.too_long", "upload_id"),
    (changed(upload_id="ä" * 129), 400, "id.too_long", "upload_id"),
    (changed(account={"id": "x" * 300}), 400, "id.too_long", "account.id"),
    (changed(media={"kind": ""}), 400, "field.invalid", "media.kind"),
    (changed(media={"kind": "k" * 65}), 400, "field.invalid", "media.kind"),
    (changed(text="x" * 70_000), 413, "body.too_large", None),
]  # fmt: skip


IGNORED = [
    (changed(account={"id": "a", "class": "c" * 65}), "account.class"),
    (changed(account={"id": "a", "created_at": "yesterday"}), "account.created_at"),
    (changed(account={"id": "a", "created_at": "2020-01-01T00:00:00"}), "account.created_at"),
    (changed(account={"id": "a", "created_at": "1970-01-01T00:00:00Z"}), "account.created_at"),
    (changed(account={"id": "a", "created_at": "2999-01-01T00:00:00Z"}), "account.created_at"),
    (changed(account={"id": "a", "created_at": "0001-01-01T00:00:00+14:00"}), "account.created_at"),
    (changed(account={"id": "a", "verified": "yes"}), "account.verified"),
    (changed(media={"kind": "image", "bytes": -1}), "media.bytes"),
    (changed(media={"kind": "image", "bytes": 2**40 + 1}), "media.bytes"),
    (changed(media={"kind": "image", "bytes": 10**30}), "media.bytes"),
    (changed(media={"kind": "image", "bytes": 10**300}), "media.bytes"),
    (changed(media={"kind": "image", "bytes": True}), "media.bytes"),
    (changed(ip="1.2.3"), "ip"),
    (changed(ip="01.2.3.4"), "ip"),
    (changed(ip="fe80::1%eth0"), "ip"),
    (changed(ip=""), "ip"),
    (changed(links=["x"] * 51), "links"),
    (changed(links="x"), "links"),
    (changed(surface="s" * 65), "surface"),
    (changed(device="d" * 257), "device"),
    (changed(country="Germany"), "country"),
    (b'{"upload_id":"u-1","account":{"id":"a-1"},"media":{"kind":"image"},"text":"\\ud83d"}', "text"),
    (b'{"upload_id":"u-1","account":{"id":"a-1"},"media":{"kind":"image"},"device":"\xff"}', None),
]


def as_upload(n: int, body: object) -> object:
    """The same body as an upload of its own, of an account of its own."""
    if isinstance(body, bytes):
        return body.replace(b'"u-1"', b'"u-1-%d"' % n).replace(b'"a-1"', b'"a-1-%d"' % n)
    assert isinstance(body, dict)
    return {**body, "upload_id": f"u-{n}", "account": {**body["account"], "id": f"a-{n}"}}


async def test_an_optional_field_that_breaks_its_rule_is_named_and_the_check_is_decided(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        for n, (body, field) in enumerate(IGNORED):
            reply = await gate.post("/v1/check", as_upload(n, body))

            shown = (str(body)[:100], reply)
            assert (reply.status, reply.json["decision"]) == (200, "allow"), shown
            assert reply.json.get("ignored", []) == ([] if field is None else [field]), shown
        metrics = await gate.get("/metrics")

    assert sum(gate.check.counts.fields_ignored.values()) == len(IGNORED) - 1
    assert gate.check.counts.rejected == {}
    assert 'upload_gate_check_fields_ignored_total{field="ip",reason="value.invalid"} 3.0' in metrics.body.decode()


async def test_each_check_of_a_batch_names_its_own_ignored_fields(tmp_path: Path) -> None:
    batch = {"checks": [CHECK, changed(upload_id="u-2", ip="x", device="unknown"), changed(upload_id="u-3")]}

    async with running_gate(tmp_path) as gate:
        reply = await gate.post("/v1/checks", batch)

    assert [answer.get("ignored") for answer in reply.json["decisions"]] == [None, ["ip", "device"], None]


async def test_a_class_that_the_policy_does_not_have_is_named_and_counted(tmp_path: Path) -> None:
    account = {"id": "a-1", "class": "zzz"}

    async with running_gate(tmp_path) as gate:
        one = await gate.post("/v1/check", changed(account=account))
        batch = await gate.post("/v1/checks", {"checks": [changed(upload_id="u-2", account=account, ip="x"), CHECK]})

    assert one.json["ignored"] == ["account.class"]
    assert [answer.get("ignored") for answer in batch.json["decisions"]] == [["ip", "account.class"], None]
    assert gate.check.counts.fields_ignored[("account.class", "class.unknown")] == 2


async def test_each_bad_check_is_a_problem_that_names_its_field_and_breaks_nothing(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        for body, status, reason, field in CASES:
            reply = await gate.post("/v1/check", body)

            shown = (str(body)[:100], reply)
            assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json"), shown
            assert {"type", "title", "status", "detail", "reason"} <= set(reply.json), shown
            assert reply.json["reason"] in ALL_REASONS, shown
            if reason is not None:
                assert (reply.json["reason"], reply.json.get("field")) == (reason, field), shown
        after = await gate.post("/v1/check", CHECK)

    assert after.json["decision"] == "allow"
    assert sum(gate.check.counts.rejected.values()) == len(CASES)
    assert gate.check.counts.faults["http"] == 0


@pytest.mark.parametrize(
    ("body", "status", "reason", "field"),
    [
        ({"checks": []}, 400, "batch.empty", "checks"),
        ({"checks": [CHECK] * 257}, 413, "batch.too_large", "checks"),
        ({"checks": [CHECK, changed(upload_id="")]}, 400, "field.invalid", "checks[1].upload_id"),
        ({"checks": [CHECK, {"upload_id": "u"}]}, 400, "field.missing", None),
        ({}, 400, "field.missing", "checks"),
        ({"checks": "x"}, 400, "field.invalid", "checks"),
        ({"checks": [CHECK, 7]}, 400, "field.invalid", "checks[1]"),
        ({"checks": [changed(text="x" * 300_000)] * 4}, 413, "body.too_large", None),
    ],
)
async def test_a_bad_batch_is_refused_whole(
    tmp_path: Path, body: object, status: int, reason: str, field: str | None
) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await gate.post("/v1/checks", body)

    assert (reply.status, reply.json["reason"]) == (status, reason)
    assert field is None or reply.json["field"] == field
    assert gate.check.counts.decisions == {}


async def test_a_batch_that_is_a_bare_list_is_told_which_object_is_expected(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await gate.post("/v1/checks", [CHECK])

    assert (reply.status, reply.json["reason"]) == (400, "field.invalid")
    assert reply.json["detail"] == 'the body must be an object, {"checks":[…]}'
    assert "field" not in reply.json


async def test_a_wrong_path_method_or_media_type_has_its_own_status(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        path = await gate.post("/v1/chek", CHECK)
        method = await gate.get("/v1/check")
        delete = await gate.get("/metrics", method="DELETE")
        form = await gate.post("/v1/check", CHECK, **{"content-type": "application/x-www-form-urlencoded"})
        charset = await gate.post("/v1/check", CHECK, **{"content-type": "application/json; charset=utf-8"})

    assert [path.status, method.status, delete.status, form.status, charset.status] == [404, 405, 405, 415, 200]
    assert (method.headers["allow"], delete.headers["allow"]) == ("POST", "GET, HEAD")


@pytest.mark.parametrize("path", ["/v1/check", "/v1/checks", "/v1/peek", "/v1/reports"])
async def test_a_compressed_body_is_refused_by_its_head_and_told_what_to_send(tmp_path: Path, path: str) -> None:
    async with running_gate(tmp_path, takes_reports=True) as gate:
        replies = [await gate.post(path, CHECK, **{"content-encoding": each}) for each in ("gzip", "identity, BR")]

    for reply in replies:
        assert (reply.status, reply.json["reason"]) == (415, "content_encoding.unsupported")
        assert "content-encoding" in reply.json["detail"]
        assert reply.headers["accept-encoding"] == "identity"
    assert gate.check.counts.rejected["content_encoding.unsupported"] == 2


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
async def test_a_body_that_is_said_to_be_as_it_is_is_read(tmp_path: Path, coding: str) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await gate.post("/v1/check", CHECK, **{"content-encoding": coding})

    assert reply.status == 200


async def test_a_body_in_chunks_is_read_to_its_end_and_capped(tmp_path: Path) -> None:
    head = b"POST /v1/check HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    body = json.dumps(CHECK).encode()
    halves = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:20], body[20:])) + b"0\r\n\r\n"
    endless = b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(8))

    async with running_gate(tmp_path) as gate:
        good = await raw(gate.port, head + halves)
        long = await raw(gate.port, head + endless)

    assert (good.status, long.status) == (200, 413)


async def test_an_unusual_content_length_is_no_fault_of_ours(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await raw(gate.port, b"POST /v1/check HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999\r\n\r\n")
        alive = await gate.get("/healthz")

    assert (reply.status, alive.status) == (413, 200)
    assert gate.check.counts.faults["http"] == 0


async def test_a_fault_of_ours_is_a_500_and_no_decision(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:

        async def broken(request: object) -> None:
            raise RuntimeError("a bug with a secret in its text")

        gate.check.check = broken  # type: ignore[method-assign, assignment]
        reply = await gate.post("/v1/check", CHECK)

    assert (reply.status, reply.json["reason"]) == (500, "fault.internal")
    assert "decision" not in reply.json
    assert "secret" not in reply.body.decode()
    assert gate.check.counts.faults["http"] == 1


async def test_a_misspelt_field_of_a_check_is_counted_by_the_field_that_is_meant(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await gate.post(
            "/v1/check", b'{"upload_id":"u-1","account":{"id":"a-1"},"media":{"kind":"image"},"devise":"d"}'
        )

        metrics = await gate.get("/metrics")

    assert (reply.status, reply.json["decision"]) == (200, "allow")
    assert "ignored" not in reply.json
    assert 'upload_gate_check_fields_unknown_total{meant="device"} 1.0' in metrics.body.decode()
