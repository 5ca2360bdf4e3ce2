"""What the shape of a host says by itself: each sign has its points, and they add up to 1 at most."""

from __future__ import annotations

import pytest

from streams.core.confusables import skeleton
from streams.core.links import suspicion


@pytest.mark.parametrize(
    ("hosts", "points"),
    [
        (("", "example.org", "www.example.org", "a.b.example.org"), 0.0),
        (("198.51.100.7",), 1.0),
        (("login.example.org", "my.secure.example.org", "walletful.org"), 0.3),
        (("wallet", "login"), 0.0),
        (("flower.xyz", "a.b.top"), 0.3),
        (("x.weebly.com", "a.flower.io"), 0.4),
        (("weebly.com", "flower.io"), 0.0),
        (("bit.ly", "tinyurl.com"), 0.2),
        (("a-b.org",), 0.15),
        (("a-b-c.org", "a-b-c-d.org"), 0.3),
        (("a1b.org", "x.a12b.org"), 0.2),
        (("ab1.org", "1ab.org", "a12.org"), 0.0),
        (("a123.org", "12.3a.org"), 0.25),
        (("bcdfg.org", "abcdfgha.org"), 0.2),
        (("bcdf.org", "bcdafgh.org"), 0.0),
        (("a.b.c.d.org",), 0.2),
        (("a.b.c.org", "www.a.b.c.org"), 0.0),
        (("aeiouaeiouaeioua.org",), 0.0),
        (("aeiouaeiouaeiouae.org",), 0.15),
        (("xn--ae-qla.org",), 0.3 + 0.3),
        (("login-bonus-1a23.bcdfg.paypa1.a.xyz",), 1.0),
    ],
)  # fmt: skip
def test_each_sign_of_a_scam_has_its_points(hosts: tuple[str, ...], points: float) -> None:
    assert [round(suspicion(host), 9) for host in hosts] == [pytest.approx(points)] * len(hosts)


@pytest.mark.parametrize(
    "host",
    [
        "paypa1.com", "applee.com", "googel.com", "netfliix.com", "telegrm.org", "teiegram.org", "whatsap.com", "roblo.com",
        "instagrams.com", "spotifyx.com", "xspotify.com", "binence.com", "uniswop.org", "steamcomunity.com",
        "stearncommunity.com", "discrod.com", "amaozn.com", "outlok.com", "officce.org", "applle.com", "steaaam.com",
        "tvvitch.tv", "discordapp.org", "mypaypal.flower.org", "paypal.netfliix.org",
    ],
)  # fmt: skip
def test_a_name_that_is_nearly_one_that_is_often_imitated_has_points(host: str) -> None:
    assert suspicion(host) == pytest.approx(0.4)


@pytest.mark.parametrize(
    "host",
    [
        "paypal.com", "apple.com", "twitch.tv", "appel.com", "amaz.com", "telegr.am", "tele.gram.org", "discordapp.com",
        "x.discordapp.com", "appleid.com", "flower.paypal.com", "spots.org", "instants.org", "roads.org", "telephones.org",
        "applied.org", "staple.org", "stream.org", "pineapple.com", "amazone.com", "officer.org", "postoffice.org",
        "steamboat.org", "team.org", "maple.org", "cloud.org", "finance.org", "switch.org", "ledgers.org",
    ],
)  # fmt: skip
def test_the_name_itself_other_names_of_its_owner_and_other_words_have_none(host: str) -> None:
    assert suspicion(host) == 0.0


def test_a_name_in_another_script_is_read_as_it_looks() -> None:
    assert suspicion("xn--pypal-4ve.com") == pytest.approx(1.0)
    assert skeleton("xn--pypal-4ve") == skeleton("pаypal") == skeleton("PÁYPAL") == "paypal"
    assert skeleton("ⅼedger") == "ledger"
    assert skeleton("xn--" + "a" * 70) == skeleton("xn--" + "a" * 59)


def test_of_a_long_name_the_48_characters_at_either_end_are_judged() -> None:
    def judged(before: int, after: int) -> bool:
        own = ".".join(["ae" * 8] * 9)[:before] + ".wallet." + ".".join(["ae" * 8] * 9)[:after]
        plain = own.replace("wallet", "flower")
        return suspicion(f"{own}.org") > suspicion(f"{plain}.org")

    assert judged(41, 80)
    assert not judged(42, 80)
    assert judged(80, 41)
    assert not judged(80, 42)
    assert judged(44, 44)  # 96 characters in all, so nothing is left out
    assert not judged(60, 60)


@pytest.mark.parametrize(
    ("host", "points"),
    [
        ("applesupport.com", 0.4 + 0.3), ("support-apple.com", 0.4 + 0.3 + 0.15), ("steam7.org", 0.4),
        ("office-7.org", 0.4 + 0.15),
        ("office-house.org", 0.15), ("houseoffice.org", 0.0), ("supportpineapples.org", 0.3 + 0.15),
    ],
)  # fmt: skip
def test_a_name_that_is_a_word_imitates_at_an_end_and_beside_a_lure_or_a_digit(host: str, points: float) -> None:
    assert suspicion(host) == pytest.approx(points)
