"""Which host a browser contacts for a link, wherever the link stands and however it is written."""

from __future__ import annotations

import pytest

from streams.core.confusables import skeleton
from streams.core.links import suspicion
from streams.core.weblinks import MAX_HOSTS, WebLinks, host
from streams.files.public_suffixes import load_web_links


@pytest.fixture(scope="module")
def web() -> WebLinks:
    return load_web_links()


@pytest.mark.parametrize(
    "link",
    [
        "https://bad.test/x", "HTTP://BAD.test.", "//bad.test", r"\\bad.test\x", r"https:\\bad.test/x", "https:/bad.test/x",
        "https:bad.test", "https://////bad.test", r"https://bad.test\@good.test/", r"bad.test\@good.test", "bad.test:8080/x",
        "bad.test/?to=https://good.test/", "bad.test#https://good.test", "www.bad.test/r/https://good.test",
        "https://good.test@bad.test/", "https://u:p@bad.test:443/", " \thttps://bad.test\n", "ht\ntps://ba\td.test",
        "https://bad\u3002test/", "https://ＢＡＤ.test", "https://b\u00adad.test", "https://\u2060bad.test", "https://%62ad.test",
        "ftp://bad.test", "wss://bad.test/socket", "bad.test", "https://bad.test?x", "https://bad.test#x",
    ],
)  # fmt: skip
def test_a_link_leads_to_the_host_that_a_browser_opens(link: str) -> None:
    assert host(link) == "bad.test"


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("http://0xc6336407/", "198.51.100.7"), ("http://198.51.25607/", "198.51.100.7"),
        ("http://3325256711", "198.51.100.7"),
        ("http://0306.063.0144.07/x", "198.51.100.7"), ("198.51.100.7/x", "198.51.100.7"),
        ("http://[2001:DB8::0:1]:80/", "[2001:db8::1]"),
        ("https://käse.test", "xn--kse-qla.test"), ("https://ka\u0308se.test", "xn--kse-qla.test"),
        ("https://сыр.test/", "xn--p1ab4a.test"), ("https://XN--KSE-QLA.test", "xn--kse-qla.test"),
    ],
)  # fmt: skip
def test_addresses_and_other_scripts_have_one_spelling(link: str, expected: str) -> None:
    assert host(link) == expected


@pytest.mark.parametrize(
    "link",
    [
        "", " ", "#top", "/path/bad.test", "?q=bad.test", "hello", "3.14", "1.1", "javascript://bad.test/%0aalert(1)",
        "data:text/html,https://bad.test", "mailto:a@bad.test", "a@bad.test", "tel:123", "sms:+1?body=x", "blob:https://bad.test/u",
        "intent://bad.test/#Intent;end", "about:blank", "file:///bad.test", "hxxps://bad.test", "http://", "https://bad test/",
        "https://bad.test:99999/", "https://[::bad/", "https://" + "a." * 200 + "test", "http://1.2.3.4.5/", "../bad.test",
        "localhost:80",
    ],
)  # fmt: skip
def test_what_no_browser_opens_on_a_host_has_none(link: str) -> None:
    assert host(link) == ""


@pytest.mark.parametrize(
    "caption",
    [
        "look at https://bad.com/x now", "look: bad.com!", "(https://bad.com)", "[here](https://bad.com/x)",
        "<https://bad.com>",
        "**https://bad.com**", '"https://bad.com"', "https://bad.com.", "«bad.com»", r"https:\\bad.com", "https:/bad.com",
        "//bad.com/x",
        r"https://bad.com\@good.com", "https://bad.com/?to=https://good.com/", "see bad.com/win, ok", "BAD.COM", "www.bad.com",
        "bad。com/x", "https://ba\u200bd.com", "https://good.com@bad.com/x", "写https://bad.com/写", "bad.com:8080/x",
    ],
)  # fmt: skip
def test_a_link_inside_a_caption_is_read(web: WebLinks, caption: str) -> None:
    assert web.hosts_in((), caption) == ("bad.com",)


def test_a_name_of_no_listed_ending_counts_with_a_path_behind_it(web: WebLinks) -> None:
    assert web.hosts_in((), "take bad.test/win now") == ("bad.test",)
    assert web.hosts_in((), "http://0xc6336407/ or https://[2001:db8::1]/x") == ("198.51.100.7", "[2001:db8::1]")


@pytest.mark.parametrize(
    "caption",
    [
        "a sunny day. Nice!", "version 1.2.3 of 12.50", "e.g. this", "wait...what", "me@bad.com or jane.doe@bad.com", "photo.jpg",
        "10:30 // later", "a/b and c:d", "hxxps://bad[.]com", "@some.one", "", "ratio 3:2",
    ],
)  # fmt: skip
def test_what_is_no_link_in_a_caption_is_none(web: WebLinks, caption: str) -> None:
    assert web.hosts_in((), caption) == ()


def test_hosts_are_distinct_in_order_and_bounded(web: WebLinks) -> None:
    many = [f"https://h{i}.test" for i in range(MAX_HOSTS * 3)]

    assert web.hosts_in(["https://b.test", "https://a.test/1"], "a.test/2 and c.com") == ("b.test", "a.test", "c.com")
    assert web.hosts_in(many, None) == tuple(f"h{i}.test" for i in range(MAX_HOSTS))
    assert web.hosts_in((), " ".join(many)) == tuple(f"h{i}.test" for i in range(MAX_HOSTS))


def test_links_at_the_end_of_a_long_caption_are_read(web: WebLinks) -> None:
    assert web.hosts_in((), "first.com " + "la " * 20_000 + "last.com") == ("first.com", "last.com")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b.bad.com", "bad.com"), ("a.b.co.uk", "b.co.uk"), ("a.github.io", "a.github.io"), ("x.a.github.io", "a.github.io"),
     ("github.io", "github.io"), ("198.51.100.7", "198.51.100.7"), ("[2001:db8::1]", "[2001:db8::1]"), ("x.y.test", "y.test")],
)  # fmt: skip
def test_the_registrable_domain_knows_private_suffixes(web: WebLinks, name: str, expected: str) -> None:
    assert web.registrable(name) == expected


def test_the_list_has_a_date(web: WebLinks) -> None:
    assert web.suffix_list_date.startswith("20")
    assert len(web.suffix_list_date) == 10


@pytest.mark.parametrize(
    "link", ["https://раураl.com", "https://рaypal.com", "https://páypal.com", "https://tеlegram.org"]
)
def test_a_name_in_lookalike_letters_imitates_the_name_it_looks_like(link: str) -> None:
    name = host(link)

    assert name.startswith("xn--")
    assert suspicion(name) >= 0.7
    assert suspicion(host("https://paypal.com")) == 0.0


def test_a_skeleton_is_plain_latin() -> None:
    assert skeleton("раураl") == skeleton("xn--l-7sba6dbr") == "paypal"
    assert skeleton("paypal") == "paypal"
    assert skeleton("xn--") == ""
    assert skeleton("xn--\x80") == "xn--\x80"


def test_a_name_that_imitates_is_found_at_either_end_of_a_long_host() -> None:
    middle = "-".join(["qwx"] * 30)

    assert suspicion(f"paypal-{middle}.test") - suspicion(f"flower-{middle}.test") == pytest.approx(0.4, abs=0.11)
    assert suspicion(f"{middle}-paypal.test") - suspicion(f"{middle}-flower.test") == pytest.approx(0.4, abs=0.11)
