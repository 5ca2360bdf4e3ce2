"""Values as clients, proxies and careless programs write them, and the one value that each stands for."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gate.core.fields import Dropped, FieldRefused, MessageType, Unusable, read_fields, why_dropped
from gate.core.fields.address import address, network
from gate.core.fields.labels import country, label, scope_countries, scope_labels
from gate.core.fields.parse import NotJson, parse
from gate.core.fields.rules import BY_SUBJECT, FIELD_NAMES, MAX_LINKS, MAX_TEXT_CHARS, RULES
from gate.core.pause.scope import Scope
from gate.core.pseudonym import Pseudonyms
from gate.core.pseudonym import network as counted_network

NOW_US = 1_795_428_000_000_000
CHECK: dict[str, Any] = {"upload_id": "u-1", "account": {"id": "a-1"}, "media": {"kind": "image"}}


def read(**given: Any) -> tuple[dict[str, Any], dict[str, Dropped]]:
    return read_fields({**CHECK, **given}, MessageType.CHECK, NOW_US)


@pytest.mark.parametrize(
    "spelling",
    [
        "198.51.100.7", " 198.51.100.7\n", "198.51.100.7:443", "[198.51.100.7]", "[198.51.100.7]:80", "198.51.100.7/32",
        "::ffff:198.51.100.7", "::FFFF:c633:6407", "[::ffff:198.51.100.7]:443", "198.51.100.7, 10.0.0.1",
        "198.51.100.7,10.0.0.1,10.0.0.2", "64:ff9b::198.51.100.7", "64:ff9b::c633:6407", "::198.51.100.7",
        "64:ff9b:1::c633:6407", "2002:c633:6407::1", "::ffff:0:198.51.100.7", "for=198.51.100.7;proto=https",
        'For="198.51.100.7:47011";by=10.0.0.1', '"198.51.100.7"',
    ],
)  # fmt: skip
def test_one_client_is_one_address_however_a_proxy_spells_it(spelling: str) -> None:
    assert address(spelling) == "198.51.100.7"


@pytest.mark.parametrize(
    "spelling",
    ["2001:db8::9", "[2001:db8::9]", "[2001:DB8:0::9]:443", "2001:db8::9%eth0", "[2001:db8::9%25en1]:1", "2001:db8::9/128"],
)  # fmt: skip
def test_one_ipv6_client_is_one_address(spelling: str) -> None:
    assert address(spelling) == "2001:db8::9"
    assert network(address(spelling)) == "2001:db8::/64"


@pytest.mark.parametrize(
    "unknown", ["", " ", "-", "unknown", "NULL", "None", "0.0.0.0", "::", "[::]:443", "_hidden", "0"]
)
def test_an_address_that_says_nothing_is_unknown(unknown: str) -> None:
    with pytest.raises(Unusable) as caught:
        address(unknown)

    assert caught.value.reason is Dropped.UNKNOWN


@pytest.mark.parametrize(
    "wrong",
    ["198.51.100", "198.51.100.7.", "0xc6.51.100.7", "198.51.25607", "198.51.100.007", "１98.51.100.7", "198。51。100。7",
     "fe80::1%eth0", "2001:db8::/32", "x" * 70, "198.51.100.7;", "256.1.1.1", "198.51.100.7:port"],
)  # fmt: skip
def test_what_is_no_address_is_dropped(wrong: str) -> None:
    with pytest.raises(Unusable) as caught:
        address(wrong)

    assert caught.value.reason is Dropped.INVALID


def test_the_network_of_a_carried_address_is_that_of_the_address() -> None:
    names = Pseudonyms(b"salt")

    assert counted_network("64:ff9b::c633:6407") == "198.51.100.7"
    assert names.of_ip("64:ff9b::c633:6407") == names.of_ip("198.51.100.7")
    assert names.of_ip("64:ff9b::c633:6408") != names.of_ip("198.51.100.7")
    assert counted_network("::1") == "::/64"


@pytest.mark.parametrize(
    "word",
    ["", "  ", "unknown", "Unknown", "NULL", "null", "undefined", "N/A", "-", "0", "NaN", "(null)", "0" * 15, "0" * 64,
     "00000000-0000-0000-0000-000000000000", "02:00:00:00:00:00", "9774d56d682e549c"],
)  # fmt: skip
def test_a_word_for_unknown_is_no_device(word: str) -> None:
    kept, dropped = read(device=word)

    assert "device" not in kept
    assert dropped == {"device": Dropped.UNKNOWN}


def test_the_hash_of_nothing_is_no_content_and_hashes_are_compared_without_case() -> None:
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    some = "5E884898DA28047151D0E56F8DC6292773603D0D6AABBDD62A11EF721D1542D8"

    assert "sha256" not in read(media={"kind": "image", "sha256": nothing.upper()})[0]["media"]
    assert "phash" not in read(media={"kind": "image", "phash": "0" * 16})[0]["media"]
    assert read(media={"kind": "image", "sha256": f"sha256:{some}"})[0]["media"]["sha256"] == some.lower()
    assert read(media={"kind": "image", "phash": "0xABCDEF0123456789"})[0]["media"]["phash"] == "abcdef0123456789"
    assert read(media={"kind": "image", "sha256": "Opaque-7"})[0]["media"]["sha256"] == "Opaque-7"


@pytest.mark.parametrize(
    "spelling", ["IMAGE", "image ", "\tImage", "ｉｍａｇｅ", "im\u200bage", "i\u00admage", "image\ufeff"]
)
def test_labels_are_folded(spelling: str) -> None:
    assert label(spelling) == "image"


def test_a_pause_meets_what_an_upload_is_folded_to() -> None:
    kept, _ = read(media={"kind": "IMAGE "}, surface="Post", country="de")
    scope = Scope(frozenset(["new"]), frozenset([" POST"]), frozenset(["Image"]), frozenset(["De"]))

    assert scope.matches("new", kept["surface"], kept["media"]["kind"], kept["country"])
    assert scope == Scope(frozenset(["new"]), frozenset(["post"]), frozenset(["image"]), frozenset(["DE"]))
    assert scope_labels([" "]) == {" "}
    assert scope_countries(["Germany"]) == {"GERMANY"}


@pytest.mark.parametrize(
    ("spelling", "code"), [("de", "DE"), (" De", "DE"), ("ＤＥ", "DE"), ("na", "NA"), ("t1", "T1")]
)
def test_a_country_is_two_capitals(spelling: str, code: str) -> None:
    assert country(spelling) == code


@pytest.mark.parametrize(
    ("spelling", "reason"),
    [("DEU", Dropped.INVALID), ("D\u0415", Dropped.INVALID), ("xx", Dropped.UNKNOWN), ("", Dropped.UNKNOWN)],
)  # fmt: skip
def test_what_is_no_country_is_dropped(spelling: str, reason: Dropped) -> None:
    with pytest.raises(Unusable) as caught:
        country(spelling)

    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("id_", "reason"),
    [
        (None, None), ("", Dropped.UNKNOWN), ("undefined", Dropped.UNKNOWN), ("a\u200b", Dropped.INVISIBLE),
        ("a\x00b", Dropped.INVISIBLE), ("a\ud800", Dropped.INVISIBLE), ("\u202ea", Dropped.INVISIBLE),
        ("é" * 129, Dropped.TOO_LONG), (7, Dropped.TYPE_WRONG), (["a"], Dropped.TYPE_WRONG),
    ],
)  # fmt: skip
def test_a_required_id_that_cannot_be_used_is_refused_by_name(id_: Any, reason: Dropped | None) -> None:
    with pytest.raises(FieldRefused) as caught:
        read(account={"id": id_})

    assert (caught.value.field, caught.value.reason) == ("account.id", reason)


def test_ids_are_trimmed_and_the_account_0_may_exist() -> None:
    assert read(upload_id=" u-1\n")[0]["upload_id"] == "u-1"
    assert read(account={"id": "0"})[0]["account"]["id"] == "0"
    assert read(device="iPhone 15")[0]["device"] == "iPhone 15"


@pytest.mark.parametrize(
    ("size", "kept"), [(204_800.0, 204_800), (0, 0), (1 << 40, 1 << 40), (7.0, 7)]
)  # fmt: skip
def test_whole_numbers_are_sizes_also_with_a_point(size: float, kept: int) -> None:
    assert read(media={"kind": "image", "bytes": size})[0]["media"]["bytes"] == kept


@pytest.mark.parametrize(
    ("size", "reason"),
    [(-1, Dropped.OUT_OF_RANGE), (1 << 63, Dropped.OUT_OF_RANGE), (1e300, Dropped.OUT_OF_RANGE), (1.5, Dropped.INVALID),
     (True, Dropped.TYPE_WRONG), ("7", Dropped.TYPE_WRONG), (float("inf"), Dropped.OUT_OF_RANGE)],
)  # fmt: skip
def test_what_is_no_size_is_dropped(size: Any, reason: Dropped) -> None:
    assert read(media={"kind": "image", "bytes": size})[1] == {"media.bytes": reason}


def test_links_that_are_null_are_none_and_a_bad_one_costs_itself_alone() -> None:
    many = [f"https://example.org/{i}" for i in range(MAX_LINKS + 1)]

    assert read(links=None) == read()
    assert read(links=[]) == (read(links=["", " "])[0], {})
    assert read(links=["https://a.example", 7, None]) == (
        {**CHECK, "links": ("https://a.example",)},
        {"links": Dropped.SOME_ITEMS},
    )
    assert read(links=many) == ({**CHECK, "links": tuple(many[:MAX_LINKS])}, {"links": Dropped.CUT})
    assert read(links="https://a.example") == (CHECK, {"links": Dropped.TYPE_WRONG})


def test_a_long_caption_keeps_its_beginning_and_half_characters_become_marks() -> None:
    kept, dropped = read(text="😀" * (MAX_TEXT_CHARS + 1))

    assert (kept["text"], dropped) == ("😀" * MAX_TEXT_CHARS, {"text": Dropped.CUT})
    assert read(text="cut \ud83d") == ({**CHECK, "text": "cut \ufffd"}, {"text": Dropped.REPAIRED})


def test_an_account_is_made_after_the_web_and_not_in_the_future() -> None:
    def made(moment: str) -> Dropped | None:
        return read(account={"id": "a", "created_at": moment})[1].get("account.created_at")

    assert made("2026-11-23T10:00:00Z") is None
    assert made("2026-11-23T10:06:00Z") is Dropped.FUTURE
    assert made("9999-12-31T23:59:59-23:59") is Dropped.FUTURE
    assert made("1989-12-31T23:59:59Z") is Dropped.ABSURD
    assert made("0001-01-01T00:00:00+14:00") is Dropped.ABSURD
    assert made("2026-11-20T08:00:00") is Dropped.INVALID
    assert made("yesterday") is Dropped.INVALID


def test_json_with_half_characters_is_read_and_other_json_is_not() -> None:
    assert parse(b'{"a":"\\ud83d"}') == {"a": "\ud83d"}
    assert parse(b'{"a":"\xf0\x9f"}') == {"a": "\ufffd"}
    assert parse(b'{"a":1e400,"b":' + b"9" * 5_000 + b"}") == {"a": float("inf"), "b": float("inf")}
    for bad in (b"", b"{", b"[NaN]", b'{"a":"\n"}', b"[" * 5_000 + b"]" * 5_000, b"\xef\xbb\xbf{}"):
        with pytest.raises(NotJson):
            parse(bad)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{"a":', "it ends too early"),
        (b'{"a":\xff', "invalid character (byte 5)"),
        (b"{]", "object keys must be strings (byte 1)"),
    ],
)
def test_what_is_no_json_is_described_in_words_for_its_sender(bad: bytes, says: str) -> None:
    with pytest.raises(NotJson, match=re.escape(says)):
        parse(bad)


def test_the_table_names_each_field_once_and_every_subject_has_an_account() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert set(FIELD_NAMES) == {rule.name for rule in RULES} | {"account", "media"}
    for subject, rules in BY_SUBJECT.items():
        assert "account.id" in {rule.name for rule in rules if subject in rule.required}


@pytest.mark.parametrize(
    ("field", "reason", "said"),
    [
        ("ip", Dropped.INVALID, ": an IPv4 or IPv6 address as a proxy writes it; the first of several"),
        ("country", Dropped.INVALID, ": two characters of ISO 3166, compared without case"),
        ("outcome", Dropped.INVALID, ": passed, failed"),
        ("account.verified", Dropped.TYPE_WRONG, ": true or false"),
        ("links", Dropped.TYPE_WRONG, ": a list of links"),
        ("media.bytes", Dropped.OUT_OF_RANGE, ": a whole number of bytes from 0 to 1099511627776"),
        ("surface", Dropped.UNKNOWN, ""),
        ("account", Dropped.TYPE_WRONG, ""),
    ],
)
def test_the_reason_of_a_broken_rule_says_what_the_field_may_hold(field: str, reason: Dropped, said: str) -> None:
    assert why_dropped(field, reason) == f"{reason.meaning}{said}"
