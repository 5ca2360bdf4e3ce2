"""Which values are plain, so that reading them by the rules would change nothing: the bounds of each fast test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from gate.core.account import Account
from gate.core.fields.plain import (
    PLAIN_COUNTRIES,
    are_plain_links,
    are_visible,
    is_plain_followup,
    is_plain_hash,
    is_plain_id,
    is_plain_label,
    is_shortest_address,
)
from gate.core.fields.times import EARLIEST

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


ACCOUNT = Account("a-1")


@dataclass(frozen=True)
class Ended:
    id: str = "e-1"
    account: Account = ACCOUNT
    upload_id: str | None = "u-1"


@pytest.mark.parametrize(
    ("event", "labels", "plain"),
    [
        (Ended(), (), True),
        (Ended(upload_id=None), (None, "staff", "image"), True),
        (Ended(account=Account("a-1", "vip", NOON)), (), True),
        (Ended(account=Account("a-1", None, EARLIEST)), (), True),
        (Ended(account=Account("a-1", None, EARLIEST - MOMENT)), (), False),
        (Ended(account=Account("a-1", None, NOON + MOMENT)), (), False),
        (Ended(id="none"), (), False),
        (Ended(account=Account("unknown")), (), False),
        (Ended(upload_id="null"), (), False),
        (Ended(id="e 1"), (), False),
        (Ended(account=Account("a\u00e9")), (), False),
        (Ended(upload_id="u\n"), (), False),
        (Ended(), ("Staff",), False),
        (Ended(), ("none",), False),
        (Ended(account=Account("a-1", "VIP")), (), False),
    ],
)
def test_an_event_about_an_upload_is_plain_if_all_of_its_values_are(
    event: Ended, labels: tuple[str | None, ...], plain: bool
) -> None:
    assert is_plain_followup(event, labels, NOON) is plain


@pytest.mark.parametrize(("value", "plain"), [("d-5", True), ("none", False), ("d 5", False), ("d\u00e9", False)])
def test_a_plain_id_is_visible_and_no_word_for_unknown(value: str, plain: bool) -> None:
    assert is_plain_id(value) is plain


@pytest.mark.parametrize(
    ("text", "visible"), [("a-Z_9", True), ("", True), ("a b", False), ("a\t", False), ("\u00e9", False)]
)
def test_visible_text_is_printable_ascii_without_spaces(text: str, visible: bool) -> None:
    assert are_visible(text) is visible


@pytest.mark.parametrize(
    ("word", "plain"),
    [(None, True), ("vip", True), ("VIP", False), ("12", False), ("none", False), ("a b", False), ("\u00e9", False)],
)
def test_a_plain_label_is_a_visible_word_in_lower_case(word: str | None, plain: bool) -> None:
    assert is_plain_label(word, frozenset(("none",))) is plain


@pytest.mark.parametrize(
    ("phash", "plain"),
    [("ff00", True), ("0xff", False), ("x0ff", True), ("none", False), ("f f", False), ("FF00", False)],
)
def test_a_plain_perceptual_hash_is_in_lower_case_without_a_prefix(phash: str, plain: bool) -> None:
    assert is_plain_hash(phash) is plain


@pytest.mark.parametrize(
    ("links", "plain"),
    [
        ((), True),
        (("https://a", "b"), True),
        (("https://a", " "), False),
        (("\x00",), False),
        (("b", "a\x00b"), False),
        ((" b ",), True),
    ],
)
def test_plain_links_are_neither_blank_nor_broken(links: tuple[str, ...], plain: bool) -> None:
    assert are_plain_links(links) is plain


@pytest.mark.parametrize(
    ("ip", "shortest"),
    [
        ("203.0.113.9", True),
        ("2001:db8::1", True),
        ("2001:db8:0::1", False),
        ("203.0.113.9:80", False),
        ("::ffff:203.0.113.9", False),
        ("nowhere", False),
    ],
)
def test_an_address_is_plain_in_its_shortest_form(ip: str, shortest: bool) -> None:
    assert is_shortest_address(ip) is shortest


def test_plain_countries_are_two_capitals_but_for_those_that_mean_unknown() -> None:
    assert len(PLAIN_COUNTRIES) == 26 * 26 - 2 + 1
    assert {"DE", "NA", None} <= PLAIN_COUNTRIES
    assert PLAIN_COUNTRIES.isdisjoint(("XX", "ZZ", "de", "D", "DEU"))
