"""Which host a browser contacts for a link, wherever the link stands and however it is written."""

from __future__ import annotations

import pytest

from streams.core.confusables import skeleton
from streams.core.links import suspicion
from streams.core.weblinks import MAX_HOSTS, Link, WebLinks, host, link_path
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


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("birds.github.io", ("birds", True)), ("x.birds.github.io", ("x.birds", True)), ("github.io", ("github.io", False)),
        ("birds.example", ("birds.example", False)), ("a.co.uk", ("a.co.uk", False)), ("io", ("io", False)),
        ("me.blogspot.com", ("me", True)), ("a.b.medium.com", ("a.b", True)), ("medium.com", ("medium.com", False)),
        ("notmedium.com", ("notmedium.com", False)), ("a.x.advisor.ws", ("a", True)), ("x.r2.dev", ("x", True)),
        ("198.51.100.7", ("198.51.100.7", False)), ("[2001:db8::1]", ("[2001:db8::1]", False)),
    ],
)  # fmt: skip
def test_of_a_host_the_part_is_known_that_its_user_chose(web: WebLinks, name: str, own: tuple[str, bool]) -> None:
    assert web.own_name(name) == own


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("https://a.test/x/", "/x"), ("a.test//", ""), ("a.test", ""), ("//a.test/p/q/", "/p/q"), (r"\\a.test\p", "/p"),
        ("a.test/é?x#y", "/%C3%A9"), ("  https://a.test/q \n", "/q"), ("ht\ntps://a.test/z", "/z"), ("http://[bad/x", ""),
        ("https://a.test/./b/../c", "/c"), ("a.test:80/p", "/p"),
    ],
)  # fmt: skip
def test_the_path_of_a_link_is_the_one_that_a_browser_sends(link: str, path: str) -> None:
    assert link_path(link) == path


def test_of_a_long_link_the_first_2048_characters_are_read() -> None:
    assert host(" " * 2_039 + "a.test") == "a.test"
    assert host(" " * 2_043 + "a.test") == "a.tes"
    assert link_path("https://a.test/" + "x" * 3_000) == "/" + "x" * (2_048 - len("https://a.test/"))


def test_a_host_has_at_most_253_characters() -> None:
    labels = ".".join(["a" * 63] * 3)

    assert host(f"https://{labels}.{'b' * 61}") == f"{labels}.{'b' * 61}"
    assert host(f"https://{labels}.{'b' * 62}") == ""


def test_of_a_long_caption_the_first_1536_and_the_last_512_characters_are_read(web: WebLinks) -> None:
    def around(before: int, after: int) -> tuple[str, ...]:
        return web.hosts_in((), "-" * (before - 1) + " a.com " + "-" * (after - 1))

    assert around(1_531, 3_000) == ("a.com",)
    assert around(1_532, 3_000) == ("a.co",)
    assert around(1_535, 3_000) == around(3_000, 1_000) == around(3_000, 508) == ()
    assert around(3_000, 507) == ("a.com",)
    assert around(1_700, 343) == ("a.com",)  # 2,048 characters in all, so nothing is left out


def test_what_stands_before_a_host_may_have_300_characters_with_it(web: WebLinks) -> None:
    assert web.hosts_in((), f"http://{'u' * 294}@a.com/x") == ("a.com",)
    assert web.hosts_in((), f"http://{'u' * 295}@a.com/x") == ("a.co",)


def test_thirty_links_of_an_upload_are_read_those_of_its_caption_last(web: WebLinks) -> None:
    given = [f"https://a.test/{number}" for number in range(40)]
    caption = " ".join(f"b.test/{number}" for number in range(40))

    both = web.links_in(given[:12], caption)

    assert [len(web.links_in(links, text)) for links, text in ((given, None), ((), caption), (given, caption))] == [
        30
    ] * 3
    assert [link.host for link in both] == ["a.test"] * 12 + ["b.test"] * 18
    assert web.hosts_in(given[:29], "b.test/ c.test/") == ("a.test", "b.test")
    assert web.hosts_in(given[:30], "b.test/") == ("a.test",)
    assert len(web.hosts_in([f"https://h{number}.test" for number in range(30)], None)) == 20


@pytest.mark.parametrize(
    ("caption", "links"),
    [
        ("see https://a.com/x), then b.com/y.", [("a.com", "/x"), ("b.com", "/y")]),
        ("[here] https://[2001:db8::1]/z] c.com", [("[2001:db8::1]", "/z"), ("c.com", "")]),
        ("https://a.com/_x_ **https://b.com/y**", [("a.com", "/_x"), ("b.com", "/y")]),
        ("a.com, b.com; c.com", [("a.com", ""), ("b.com", ""), ("c.com", "")]),
        ("a.com,b.com", [("a.com", ""), ("b.com", "")]),
        (r"\\srv.com\x //d.com/y //e /", [("srv.com", "/x"), ("d.com", "/y")]),
        ("WWW.zz.local but not yy.local", [("zz.local", "")]),
        ("10.0.0.1/x and a.0x1f/ and b.12/", []),
        ("%41b.com _a.com -b.com a.com-b a..b.com", []),
    ],
)
def test_links_inside_a_caption_have_their_paths_without_what_a_sentence_puts_after_them(
    web: WebLinks, caption: str, links: list[tuple[str, str]]
) -> None:
    assert web.links_in((), caption) == tuple(Link(*each) for each in links)
    assert web.hosts_in((), caption) == tuple(name for name, _ in links)


def test_a_link_that_is_named_and_in_the_caption_is_one_link(web: WebLinks) -> None:
    assert web.links_in(["https://a.com/x/"], "a.com/x a.com/X") == (Link("a.com", "/x"), Link("a.com", "/X"))
    assert web.links_in(["mailto:a@b.test", "https://c.test"], "my cat") == (Link("c.test", ""),)


def test_nothing_to_read_gives_no_host(web: WebLinks) -> None:
    assert web.hosts_in((), None) == web.hosts_in((), "my cat") == web.hosts_in(("mailto:a@b.test",), "my cat") == ()
    assert web.hosts_in(("a.test",), "my cat") == web.hosts_in(("a.test",), None) == ("a.test",)
