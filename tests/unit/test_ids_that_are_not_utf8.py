"""An id with bytes that are not UTF-8 is refused wherever one is read, so that two ids never become one."""

from __future__ import annotations

import pytest

from gate.errors import RequestRejected
from gate.records.check import decode_check, decode_checks
from gate.records.decision import ReservationSigner
from gate.records.report import decode_reports
from streams.core.events import Unreadable, decode

NOW_US = 1_800_000_000_000_000
CHECK = b'{"upload_id":"u-1","account":{"id":"a-1"},"media":{"kind":"image"},"device":"d-1"}'
EVENT = b'{"type":"attempted","id":"e-1","at":"2026-11-20T08:00:00Z","account":{"id":"a-1"},"upload_id":"u-1","device":"d-1"}'
CUT = [b"\xff", b"\xf0\x9f", "\ufffd".encode()]


@pytest.mark.parametrize("cut", CUT)
@pytest.mark.parametrize(("sent", "field"), [(b"u-1", "upload_id"), (b"a-1", "account.id")])
def test_a_check_is_refused_and_names_the_field(sent: bytes, field: str, cut: bytes) -> None:
    for read, body, place in (
        (decode_check, CHECK, field),
        (decode_checks, b'{"checks":[%s]}' % CHECK, f"checks[0].{field}"),
    ):
        with pytest.raises(RequestRejected, match="not UTF-8") as error:
            read(body.replace(sent, b"x" + cut), NOW_US)

        assert (error.value.reason, error.value.field) == ("field.invalid", place)


@pytest.mark.parametrize("cut", CUT)
@pytest.mark.parametrize(("sent", "field"), [(b"e-1", "id"), (b"a-1", "account.id")])
def test_an_event_without_a_usable_id_is_unreadable(sent: bytes, field: str, cut: bytes) -> None:
    with pytest.raises(Unreadable, match=f"{field} holds a character that is not UTF-8"):
        decode(EVENT.replace(sent, b"x" + cut))


@pytest.mark.parametrize("cut", CUT)
def test_an_optional_one_costs_neither_the_check_nor_the_event(cut: bytes) -> None:
    checked, ignored = decode_check(CHECK.replace(b"d-1", b"x" + cut), NOW_US)
    event = decode(EVENT.replace(b"d-1", b"x" + cut).replace(b"u-1", b"y" + cut))

    assert (checked.device or "")[:2] == "x\ufffd"
    assert ignored == {}
    assert ((getattr(event, "device", None) or "")[:2], event.upload_id) == ("x\ufffd", None)


@pytest.mark.parametrize("cut", CUT)
def test_a_report_is_refused(cut: bytes) -> None:
    report = b'{"account":{"id":"a-1"},"upload_id":"x%s","outcome":"committed"}' % cut

    with pytest.raises(RequestRejected) as error:
        decode_reports(report, ReservationSigner(b"salt"))

    assert error.value.field == "upload_id"


def test_text_in_any_script_is_an_id_as_before() -> None:
    checked, ignored = decode_check(CHECK.replace(b"u-1", "загрузка-1".encode()), NOW_US)

    assert (checked.upload_id, ignored) == ("загрузка-1", {})
