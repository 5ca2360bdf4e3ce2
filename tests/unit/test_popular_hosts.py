"""Honest crowds that link to one popular service stay as free as without links; a campaign of links does not."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.test_directed_cases import DAY, HOUR, Platform, Uploads, created, gaps, photo, said

NEWCOMERS = 60
Link = Callable[[random.Random, int, int], str]
"""The link of an account's upload."""


def key(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghijkmnpqrstuvwxyzABCDEFGH23456789-_", k=11))


def watch(rng: random.Random, account: int, n: int) -> str:
    return f"https://films.example/watch?v={key(rng)}&feature=share"


def numbered(rng: random.Random, account: int, n: int) -> str:
    return f"https://films.example/photo/{rng.randrange(10**9)}"


def on_a_well_known_host(rng: random.Random, account: int, n: int) -> str:
    return f"https://www.youtube.com/watch?v={key(rng)}&utm_source=copied-link"


def regulars(rng: random.Random, link: Link, count: int = 40, uploads: int = 8) -> Uploads:
    """People of a year who link to the service now and then, over the ten days before."""
    for person in range(count):
        for n in range(uploads):
            yield rng.uniform(-10 * DAY, -HOUR), f"regular-{person}", {
                "created": created(400), "device": f"phone-r{person}", "ip": f"198.51.{person}.1",
                "media": photo("regular", person, n), "text": said(rng),
                "links": [link(rng, person, n)] if n % 2 == 0 else [],
            }  # fmt: skip


def joined(rng: random.Random, link: Link | None) -> Uploads:
    """Sixty people who joined hours ago; most of their uploads carry a link. Without `link` the same without links."""
    linked = random.Random(rng.random())
    for person in range(NEWCOMERS):
        start = rng.uniform(0, 12 * HOUR)
        for n, second in enumerate(gaps(rng, 5, start)):
            yield second, f"new-{person}", {
                "created": created(0, start - 1_800), "device": f"phone-n{person}", "ip": f"203.0.{person}.1",
                "media": photo("new", person, n), "text": said(rng),
                "links": [link(linked, person, n)] if link and n != 1 else [],
            }  # fmt: skip


def risks(link: Link | None, known: Link | None, **given: Any) -> list[float]:
    """The highest risk of each newcomer, on a platform whose regulars link as `known`."""
    platform = Platform()
    if known:
        platform.after(regulars(random.Random(1), known, **given), batch=20)
    platform.after(joined(random.Random(7), link), batch=5)
    return [platform.highest[f"new-{person}"] for person in range(NEWCOMERS)]


@pytest.mark.parametrize("link", [watch, numbered, on_a_well_known_host], ids=["query", "path", "well-known"])
def test_newcomers_who_link_to_different_pages_of_a_popular_service_are_as_free_as_without_links(link: Link) -> None:
    known = None if link is on_a_well_known_host else link

    with_links, without = risks(link, known), risks(None, known)

    assert with_links == pytest.approx(without, abs=0.001)


def scam(rng: random.Random, account: int, n: int) -> str:
    return f"https://brightcoin-event.example/join?invite={key(rng)}"


def one_page(rng: random.Random, account: int, n: int) -> str:
    return f"https://films.example/watch?v=scamscamscam&t={key(rng)}"


def redirected(rng: random.Random, account: int, n: int) -> str:
    return f"https://www.google.com/url?q=https%3A%2F%2Fbrightcoin-event.example%2Fjoin%3Finvite%3D{key(rng)}"


def own_page(rng: random.Random, account: int, n: int) -> str:
    return f"https://films.example/u/brightcoin?invite={key(rng)}"


@pytest.mark.parametrize(
    ("link", "given"),
    [(scam, {}), (one_page, {}), (own_page, {}), (scam, {"count": 8}), (redirected, {})],
    ids=[
        "new host", "one page of a popular host", "a page of its own there", "eight old accounts linked before",
        "a redirect of a well-known host",
    ],
)  # fmt: skip
def test_a_campaign_that_rotates_queries_stands_out_as_it_does_where_nobody_knows_its_host(
    link: Link, given: dict[str, int]
) -> None:
    free = risks(None, watch)

    met = risks(link, scam if given else watch, **given)

    assert sorted(met)[NEWCOMERS // 2] > sorted(free)[NEWCOMERS // 2] + 0.1
