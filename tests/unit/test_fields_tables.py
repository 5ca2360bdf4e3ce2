"""The fields of messages by tables of cases: addresses, times, sizes, unknown names, and the edges of each bound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import pytest

from gate.core.fields import MessageType, address, rules, sentinels
from gate.core.fields.reader import read_fields
from gate.core.fields.reasons import Dropped, FieldRefused, Unusable
from gate.core.fields.times import (
    EARLIEST,
    EARLIEST_US,
    EPOCH,
    LATEST_US,
    MAX_AHEAD_US,
    creation,
    moment,
    since_epoch_us,
)
from gate.core.fields.unknown import hint, meant, unknown_names, worded
from gate.core.pseudonym import Pseudonyms, is_ipv4, network

LONGEST = 1_024
CARRIED = "203.0.113.9"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CARRIED, CARRIED),
        (f"  {CARRIED}\t", CARRIED),
        (f"{CARRIED}, 10.0.0.1", CARRIED),
        (f"{CARRIED}:65535", CARRIED),
        (f"{CARRIED}/32", CARRIED),
        (f"{CARRIED}/128", Dropped.INVALID),
        (f"{CARRIED}/24", Dropped.INVALID),
        (f'for="{CARRIED}:1";proto=http', CARRIED),
        (f"proto=http; For = {CARRIED}", CARRIED),
        ('for="[2001:db8::1]:4711"', "2001:db8::1"),
        ("proto=http", Dropped.INVALID),
        ("for=_hidden", Dropped.UNKNOWN),
        ("for=unknown", Dropped.UNKNOWN),
        ("_", Dropped.UNKNOWN),
        ("", Dropped.UNKNOWN),
        ("'2001:DB8:0::1'", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:123456", Dropped.INVALID),
        ("2001:db8::1%eth0", "2001:db8::1"),
        ("2001:db8::1%eth0%eth1", "2001:db8::1"),
        ("2001:db8::1/128", "2001:db8::1"),
        ("2001:db8::1/64", Dropped.INVALID),
        (f"{CARRIED}%eth0", Dropped.INVALID),
        ("0.0.0.0", Dropped.UNKNOWN),
        ("::", Dropped.UNKNOWN),
        ("::1", "::1"),
        ("::2", "0.0.0.2"),
        ("255.255.255.255", Dropped.UNKNOWN),
        ("255.255.255.254", "255.255.255.254"),
        ("0.0.0.1", "0.0.0.1"),
        ("fe80::1", Dropped.INVALID),
        ("ff02::1", Dropped.INVALID),
        ("169.254.0.1", "169.254.0.1"),
        ("224.0.0.1", "224.0.0.1"),
        (f"::ffff:{CARRIED}", CARRIED),
        (f"::ffff:0:{CARRIED}", CARRIED),
        (f"64:ff9b::{CARRIED}", CARRIED),
        (f"64:ff9b:1::{CARRIED}", CARRIED),
        ("64:ff9b:2::cb00:7109", "64:ff9b:2::cb00:7109"),
        ("2002:cb00:7109::1", CARRIED),
        ("2001:0:4136:e378:8000:63bf:34ff:8ef6", CARRIED),
        ("2001:1::1", "2001:1::1"),
        ("::ffff:255.255.255.255", Dropped.UNKNOWN),
        ("0:0:0:0:0:0:0:0", Dropped.UNKNOWN),
        ("٣.1.1.1", Dropped.INVALID),
        ("host", Dropped.INVALID),
        (f"{CARRIED},{'x' * (LONGEST - len(CARRIED) - 1)}", CARRIED),
        (f"{CARRIED},{'x' * (LONGEST - len(CARRIED))}", Dropped.TOO_LONG),
        (f" {CARRIED},{'x' * (LONGEST - len(CARRIED) - 1)} ", CARRIED),
    ],
)
def test_an_address_as_proxies_write_it(text: str, found: str | Dropped) -> None:
    if isinstance(found, str) and not isinstance(found, Dropped):
        assert address.address(text) == found
    else:
        with pytest.raises(Unusable) as raised:
            address.address(text)
        assert raised.value.reason == found


@pytest.mark.parametrize(
    ("ip", "counted"),
    [
        (CARRIED, CARRIED),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:0:3:4:5:6", "2001:db8:1::/64"),
        ("2001:db8:0:0:3:4:5:6", "2001:db8::/64"),
        ("2001:DB8::1", "2001:db8::/64"),
        ("0:0:0:0:0:0:0:1", "::/64"),
        ("0:0:0:1:0:0:0:1", "0:0:0:1::/64"),
        ("1:0:0:1:ffff:ffff:ffff:ffff", "1:0:0:1::/64"),
        ("2001:0:4136:e378:8000:63bf:34ff:8ef6", CARRIED),
        ("2001:1:4136:e378:8000:63bf:34ff:8ef6", "2001:1:4136:e378::/64"),
        ("2002:cb00:7109:0:0:0:0:1", CARRIED),
        ("2003:cb00:7109:0:0:0:0:1", "2003:cb00:7109::/64"),
        ("64:ff9b:0:0:0:0:cb00:7109", CARRIED),
        ("65:ff9b:0:0:0:0:cb00:7109", "65:ff9b::/64"),
        ("64:ff9b:0:1:0:0:cb00:7109", "64:ff9b:0:1::/64"),
        ("0:0:0:0:0:ffff:cb00:7109", CARRIED),
        ("255.255.255.255", "255.255.255.255"),
    ],
)
def test_the_network_under_which_an_address_is_counted(ip: str, counted: str) -> None:
    assert network(ip) == counted
    assert address.network(ip) in (counted, f"{counted}/64")


@pytest.mark.parametrize(
    ("text", "usual"),
    [
        ("0.0.0.0", True), ("255.255.255.255", True), ("256.1.1.1", False), ("1.1.1", False), ("1.1.1.1.1", False),
        ("01.1.1.1", False), ("1.1.1.", False), ("::1", False), ("", False),
    ],
)  # fmt: skip
def test_an_ipv4_address_in_its_usual_form(text: str, usual: bool) -> None:
    assert is_ipv4(text) is usual


def test_pseudonyms_are_64_bits_of_a_hash_under_the_salt_and_the_kind() -> None:
    def expected(value: str, kind: bytes) -> str:
        key = blake2b(b"salt", digest_size=32).digest()
        return blake2b(key + value.encode(), digest_size=8, person=kind).hexdigest()

    names, cached = Pseudonyms(b"salt"), list[str]()
    counting = Pseudonyms(b"salt", lambda function: lambda ip: (cached.append(ip), function(ip))[1])
    v6 = "2001:db8:1:2:3:4:5:6"
    of_v6, of_v4, of_device = expected("2001:db8:1:2::/64", b"ip"), expected(CARRIED, b"ip"), expected("d-1", b"device")

    assert (names.of_ip(v6), names.of_ip(CARRIED), names.of_device("d-1")) == (of_v6, of_v4, of_device)
    assert names.of_ips([None, v6, None, CARRIED]) == [None, of_v6, None, of_v4]
    assert names.of_devices([None, "d-1", None]) == [None, of_device, None]
    assert [names.number_of_ip(v6), names.number_of_ip(CARRIED)] == [int(of_v6, 16), int(of_v4, 16)]
    assert names.number_of_device("d-1") == int(of_device, 16)
    assert [counting.of_ip(v6), counting.of_ip(CARRIED), *counting.of_ips([v6, CARRIED])] == [of_v6, of_v4] * 2
    assert [counting.number_of_ip(v6), counting.number_of_ip(CARRIED)] == [int(of_v6, 16), int(of_v4, 16)]
    assert cached == [v6] * 3


AT_US = 1_800_000_000_000_000
AT = EPOCH + timedelta(microseconds=AT_US)


def test_the_bounds_of_times_are_the_dates_that_they_are_named_for() -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) == EPOCH
    assert datetime(1990, 1, 1, tzinfo=UTC) == EARLIEST
    assert (since_epoch_us(EARLIEST), since_epoch_us(datetime(3000, 1, 1, tzinfo=UTC))) == (EARLIEST_US, LATEST_US)
    assert MAX_AHEAD_US == 300_000_000


@pytest.mark.parametrize("us", [0, 1, -1, 86_399_999_999, 86_400_000_000, AT_US, AT_US + 999_999])
def test_a_time_is_its_microseconds_since_1970(us: int) -> None:
    assert since_epoch_us(EPOCH + timedelta(microseconds=us)) == us


@pytest.mark.parametrize(
    ("us", "at_us", "reason"),
    [
        (AT_US, AT_US, None),
        (AT_US + MAX_AHEAD_US, AT_US, None),
        (AT_US + MAX_AHEAD_US + 1, AT_US, Dropped.FUTURE),
        (EARLIEST_US, AT_US, None),
        (EARLIEST_US - 1, AT_US, Dropped.ABSURD),
        (EARLIEST_US - 1, EARLIEST_US, Dropped.ABSURD),
        (EARLIEST_US - 1, EARLIEST_US - 1, None),
        (0, 0, None),
    ],
)
def test_an_account_is_made_after_the_web_and_at_most_five_minutes_ahead(
    us: int, at_us: int, reason: Dropped | None
) -> None:
    made = EPOCH + timedelta(microseconds=us)
    if reason is None:
        assert creation(made, at_us) == made
        return
    with pytest.raises(Unusable) as raised:
        creation(made, at_us)
    assert raised.value.reason is reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("2026-11-20T08:00:00", Dropped.INVALID),
        ("yesterday", Dropped.INVALID),
        ("\ud800", Dropped.INVALID),
        (datetime(2026, 11, 20, 8), Dropped.INVALID),
        (5, Dropped.TYPE_WRONG),
        (None, Dropped.TYPE_WRONG),
    ],
)
def test_a_time_needs_a_zone(value: object, reason: Dropped) -> None:
    with pytest.raises(Unusable) as raised:
        moment(value)

    assert raised.value.reason is reason
    assert moment(" 2026-11-20T09:00:00+01:00\n") == datetime(2026, 11, 20, 8, tzinfo=UTC)


CHECK: dict[str, Any] = {"upload_id": "u-1", "account": {"id": "a-1"}, "media": {"kind": "image"}}
EVENT: dict[str, Any] = {"type": "attempted", "id": "e-1", "at": AT.isoformat(), "account": {"id": "a-1"}}


def read(subject: MessageType = MessageType.CHECK, **more: Any) -> tuple[Any, Any]:
    """The kept value of the last of `more`, and why what was dropped was dropped."""
    base = CHECK if subject is MessageType.CHECK else EVENT
    fields = read_fields({**base, **more}, subject, AT_US if subject is MessageType.CHECK else None)
    return fields.kept.get([*more][-1]), fields.dropped


TEXT, LINK = rules.MAX_TEXT_CHARS, rules.MAX_LINK_CHARS


@pytest.mark.parametrize(
    ("field", "given", "kept", "reason"),
    [
        ("text", "x" * TEXT, "x" * TEXT, None),
        ("text", "x" * (TEXT + 1), "x" * TEXT, Dropped.CUT),
        ("text", " ", None, Dropped.UNKNOWN),
        ("text", "", None, Dropped.UNKNOWN),
        ("text", "a\ud800", "a\ufffd", Dropped.REPAIRED),
        ("text", 5, None, Dropped.TYPE_WRONG),
        ("links", ["a"] * 50, ("a",) * 50, None),
        ("links", ["a"] * 51, ("a",) * 50, Dropped.CUT),
        ("links", ["x" * LINK], ("x" * LINK,), None),
        ("links", ["x" * (LINK + 1)], ("x" * LINK,), Dropped.CUT),
        ("links", ("a", "b"), ("a", "b"), None),
        ("links", ["", " ", "a"], ("a",), None),
        ("links", ["a", None, 5, "b"], ("a", "b"), Dropped.SOME_ITEMS),
        ("links", "a", None, Dropped.TYPE_WRONG),
        ("device", "d" * 256, "d" * 256, None),
        ("surface", "Post", "post", None),
        ("ip", CARRIED, CARRIED, None),
        ("country", 5, None, Dropped.TYPE_WRONG),
    ],
)
def test_a_field_of_a_check_and_its_bound(field: str, given: object, kept: object, reason: Dropped | None) -> None:
    assert read(**{field: given}) == (kept, {} if reason is None else {field: reason})


@pytest.mark.parametrize(
    ("size", "kept", "reason"),
    [
        (0, 0, None), (1.0, 1, None), (1 << 40, 1 << 40, None), ((1 << 40) + 1, None, Dropped.OUT_OF_RANGE),
        (-1, None, Dropped.OUT_OF_RANGE), (0.5, None, Dropped.INVALID), (True, None, Dropped.TYPE_WRONG),
        ("5", None, Dropped.TYPE_WRONG), (float("nan"), None, Dropped.OUT_OF_RANGE),
    ],
)  # fmt: skip
def test_a_size_is_a_whole_number_up_to_a_tebibyte(size: object, kept: int | None, reason: Dropped | None) -> None:
    media, dropped = read(media={"kind": "image", "bytes": size})

    assert media.get("bytes") == kept
    assert dropped == ({} if reason is None else {"media.bytes": reason})


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("verified", True, None), ("verified", False, None), ("verified", 1, Dropped.TYPE_WRONG),
        ("verified", "yes", Dropped.TYPE_WRONG),
    ],
)  # fmt: skip
def test_a_flag_is_true_or_false(field: str, value: object, reason: Dropped | None) -> None:
    account, dropped = read(account={"id": "a-1", field: value})

    assert account.get(field) == (value if reason is None else None)
    assert dropped == ({} if reason is None else {f"account.{field}": reason})


def test_ids_that_are_too_long_are_hashed_and_required_ones_refused() -> None:
    device, dropped = read(device="d" * 257)

    assert (len(device) < 257, dropped) == (True, {"device": Dropped.HASHED})
    with pytest.raises(FieldRefused) as raised:
        read(upload_id="u" * 257)
    assert (raised.value.field, raised.value.reason) == ("upload_id", Dropped.TOO_LONG)


@pytest.mark.parametrize(
    ("more", "field", "reason"),
    [
        ({"account": None}, "account.id", None),
        ({"account": {}}, "account.id", None),
        ({"account": {"id": " "}}, "account.id", Dropped.UNKNOWN),
        ({"account": 5}, "account", Dropped.TYPE_WRONG),
        ({"media": "image"}, "media", Dropped.TYPE_WRONG),
        ({"upload_id": None}, "upload_id", None),
    ],
)
def test_a_check_without_what_it_needs_is_refused_by_the_name_of_the_field(
    more: dict[str, Any], field: str, reason: Dropped | None
) -> None:
    with pytest.raises(FieldRefused) as raised:
        read(**more)

    assert (raised.value.field, raised.value.reason) == (field, reason)


def test_a_part_that_an_event_needs_nothing_of_is_dropped_alone() -> None:
    assert read(MessageType.ATTEMPTED, media=[1]) == (None, {"media": Dropped.TYPE_WRONG})


@pytest.mark.parametrize(("ahead_us", "is_kept"), [(MAX_AHEAD_US, True), (MAX_AHEAD_US + 1, False)])
def test_the_creation_of_an_account_is_compared_with_the_time_of_its_event(ahead_us: int, is_kept: bool) -> None:
    made = (AT + timedelta(microseconds=ahead_us)).isoformat()

    account, dropped = read(MessageType.ATTEMPTED, account={"id": "a-1", "created_at": made})
    of_check, _ = read(account={"id": "a-1", "created_at": made})

    assert ("created_at" in account, "created_at" in of_check) == (is_kept, is_kept)
    assert dropped == ({} if is_kept else {"account.created_at": Dropped.FUTURE})


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("p" * 33 + ".device", "device"),
        ("p" * 34 + ".device", None),
        ("account.devise", "device"),
        ("account.verifyed", "account.verified"),
        ("media.klass", "account.class"),
        ("DEVICE", "device"),
        ("Created-At", "account.created_at"),
        ("account.id", "account.id"),
        ("id", "account.id"),
        ("xyz", None),
    ],
)
def test_the_field_that_a_name_is_probably_meant_to_be(name: str, field: str | None) -> None:
    assert meant(name, MessageType.CHECK) == field


def test_of_two_fields_with_one_name_the_first_by_the_alphabet_is_meant() -> None:
    assert meant("ID", MessageType.ATTEMPTED) == "account.id"


def test_a_hint_names_the_field_or_its_place() -> None:
    assert hint("devise", MessageType.CHECK) == " (did you mean device?)"
    assert hint("account.class", MessageType.CHECK) == " (did you mean class inside account?)"
    assert (hint("xyz", MessageType.CHECK), worded("x", None)) == ("", "")


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        (
            {"upload_id": 1, "account": {"id": 1, "name": 2}, "media": {"kind": 1, "size": 2}},
            ["account.name", "media.size"],
        ),
        ({"account.id": 1, "account": 5}, ["account.id"]),
        ({"devise": 1, "ours": 2}, ["devise"]),
    ],
)
def test_the_names_that_no_check_has(raw: dict[str, Any], names: list[str]) -> None:
    assert unknown_names(raw, MessageType.CHECK, frozenset({"ours"})) == names


@pytest.mark.parametrize(("part", "subject"), [("media", MessageType.REMOVED), ("media", MessageType.REPORTED)])
def test_inside_a_part_that_a_message_lacks_nothing_is_looked_at(part: str, subject: MessageType) -> None:
    has_part = any(rule.name.startswith(f"{part}.") for rule in rules.BY_SUBJECT[subject])

    found = unknown_names({part: {"strange": 1}}, subject)

    assert found == ([f"{part}.strange"] if has_part else [part])


@pytest.mark.parametrize(
    ("value", "no_id", "unknown", "no_hash"),
    [
        ("null", True, True, True), ("NULL", True, True, True), ("Null", True, True, True), ("(Not Set)", True, True, True),
        ("NaN", True, True, True), ("[object Object]", True, True, True), ("n/a", False, True, True), ("-1", False, True, True),
        ("0", False, True, False), ("0" * 7, False, True, False), ("0" * 8, False, True, True), ("0" * 31, False, True, True),
        ("0" * 32, True, True, True), ("0" * 128, True, True, True), ("0" * 129, False, False, False),
        ("f" * 32, False, False, True), ("f" * 31, False, False, False),
        ("00000000-0000-0000-0000-000000000000", True, True, True), ("0-0-0-0-0", False, True, True), ("1", False, False, False),
    ],
)  # fmt: skip
def test_a_placeholder_is_unknown_where_it_cannot_be_a_value(
    value: str, no_id: bool, unknown: bool, no_hash: bool
) -> None:
    assert (value in sentinels.NO_IDS, value in sentinels.UNKNOWN, value in sentinels.NO_HASHES) == (
        no_id,
        unknown,
        no_hash,
    )
    assert (value in sentinels.ANY) == (unknown or no_hash)


@pytest.mark.parametrize("length", [16, 32, 40, 64])
def test_hashes_of_one_bits_only_are_no_content(length: int) -> None:
    assert "f" * length in sentinels.NO_HASHES
    assert "f" * (length + 1) not in sentinels.NO_HASHES


@pytest.mark.parametrize("text", ["2001:db8::1%eth0", "203.0.113.٩", "host"])
def test_what_has_a_zone_or_foreign_digits_has_no_network(text: str) -> None:
    with pytest.raises(Unusable) as raised:
        address.network(text)

    assert raised.value.reason is Dropped.INVALID
