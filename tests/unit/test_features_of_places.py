"""Features of what an account shares with others: networks, devices, contents, links and campaigns, computed by hand."""

from __future__ import annotations

from math import log2
from typing import Any

import pytest

from streams.core.crowd import Surroundings
from streams.core.features import (
    campaign,
    crowd,
    network,
)
from streams.core.features.places import recent, recent_of
from tests.facts_by_hand import DAY_OLD, NOW_US, OLD, check, place, read


@pytest.mark.parametrize(
    ("around", "facts", "expected"),
    [
        (
            Surroundings(ip_accounts=10, device_accounts=8, ip_established=5, device_established=2),
            {"networks": place(0, 7) + place(1, 8), "devices": place(0, 9)},
            {
                "ip_accounts": 10,
                "device_accounts": 8,
                "ip_strangers": 2.5,
                "device_strangers": 4.5,
                "networks": 2,
                "devices": 1,
            },
        ),
        (Surroundings(3, 4), {}, {"ip_strangers": 3, "device_strangers": 4, "networks": 0, "devices": 0}),
        (Surroundings(3, 4, ip_established=9), {}, {"ip_strangers": 0}),
        (
            Surroundings(3, 4),
            {"uploads": 0, "devices": place(0, 9)},
            {"ip_accounts": 0, "device_accounts": 0, "ip_strangers": 0, "device_strangers": 0, "devices": 1},
        ),
    ],
)
def test_network(around: Surroundings, facts: dict[str, Any], expected: dict[str, float]) -> None:
    check(around, facts, **expected)


@pytest.mark.parametrize(
    ("around", "facts", "expected"),
    [
        (
            Surroundings(content_accounts=2, link_accounts=2),
            DAY_OLD,
            {"content_accounts": 2, "link_accounts": 2, "link_strangers": 2, "content_spread": 0, "link_spread": 0},
        ),
        (Surroundings(content_accounts=8), DAY_OLD, {"content_spread": 0.5 * 2 / 3}),
        (Surroundings(content_accounts=16), DAY_OLD, {"content_spread": 0.5}),
        (Surroundings(content_accounts=64), DAY_OLD, {"content_spread": 0.5}),
        (Surroundings(content_accounts=16), OLD | {"uploads": 3}, {"content_spread": 0.5}),
        (Surroundings(content_accounts=16), {"created_us": 0, "uploads": 1}, {"content_spread": 0}),
        (Surroundings(content_accounts=3), OLD | {"uploads": 9}, {"content_spread": 0.8 * log2(1.5) / 3}),
        (Surroundings(link_accounts=16), OLD | {"uploads": 4, "host_repeats": 2}, {"link_spread": 0.5 * 0.1}),
        (
            Surroundings(link_accounts=16),
            OLD | {"uploads": 4, "host_repeats": 2, "suspicion": 0.5},
            {"link_spread": 0.5 * 0.55},
        ),
        (
            Surroundings(link_accounts=16),
            DAY_OLD | {"uploads": 4, "host_repeats": 9, "suspicion": 0.1},
            {"link_spread": 0.55},
        ),
        (
            Surroundings(link_accounts=16, link_established=4),
            OLD | {"host_repeats": 1, "suspicion": 1.0},
            {"link_spread": 0.5, "link_strangers": 9},
        ),
        (
            Surroundings(link_accounts=16, link_established=9),
            OLD | {"host_repeats": 1, "suspicion": 1.0},
            {"link_spread": 0},
        ),
        (Surroundings(link_accounts=4), OLD | {"host_repeats": 1, "suspicion": 1.0}, {"link_spread": 1 / 3}),
        (Surroundings(link_accounts=16), OLD | {"suspicion": 1.0}, {"link_spread": 0}),
        (
            Surroundings(content_accounts=9, link_accounts=9),
            {"uploads": 0},
            {"content_accounts": 0, "link_accounts": 0, "link_strangers": 0, "content_spread": 0},
        ),
        (Surroundings(content_accounts=1, link_accounts=3), DAY_OLD, {"content_accounts": 1, "link_strangers": 3}),
    ],
)
def test_crowd(around: Surroundings, facts: dict[str, Any], expected: dict[str, float]) -> None:
    check(around, facts, **expected)


def test_without_an_upload_nothing_that_is_shared_says_anything() -> None:
    nobody = read(Surroundings(9, 9, 9, 9), uploads=0)

    assert not any(nobody[one.name] for family in (network, crowd, campaign) for one in family.FEATURES)


@pytest.mark.parametrize(
    ("campaign", "facts", "wave"),
    [
        ((2, 0), {"created_us": NOW_US}, 0.0),
        ((3, 0), {"created_us": NOW_US}, log2(1.5) / 4),
        ((8, 0), {"created_us": NOW_US}, 0.5),
        ((32, 0), {"created_us": NOW_US}, 1.0),
        ((500, 0), {"created_us": NOW_US}, 1.0),
        ((32, 8), {"created_us": NOW_US}, 0.5),
        ((32, 16), {"created_us": NOW_US}, 0.0),
        ((32, 30), {"created_us": NOW_US}, 0.0),
        ((32, 0), DAY_OLD, 0.7),
        ((32, 0), {"created_us": 0}, 0.4),
    ],
)
@pytest.mark.parametrize("kind", ["content", "link", "text"])
def test_campaign(kind: str, campaign: tuple[int, int], facts: dict[str, Any], wave: float) -> None:
    around = Surroundings(**{f"{kind}_campaign": campaign[0], f"{kind}_campaign_established": campaign[1]})

    found = read(around, **facts)

    assert found[f"{kind}_campaign"] == campaign[0]
    assert found[f"{kind}_wave"] == pytest.approx(wave)
    others = {"content", "link", "text"} - {kind}
    assert not any(found[f"{other}_{what}"] for other in others for what in ("campaign", "wave"))
    assert read(around, uploads=0)[f"{kind}_campaign"] == 0


def test_a_place_counts_for_three_days_after_the_account_last_came_from_it() -> None:
    some = place(0, 5) + place(3, 6) + place(4, 7)

    values, owners = recent_of([some, b"", place(4, 8), place(3, 9)], [NOW_US] * 4)

    assert recent(some, NOW_US) == [5, 6]
    assert [recent(place(days, 5), NOW_US) for days in (0, 3, 4)] == [[5], [5], []]
    assert recent(b"", NOW_US) == []
    assert (values.tolist(), owners.tolist()) == ([5, 6, 9], [0, 0, 3])
