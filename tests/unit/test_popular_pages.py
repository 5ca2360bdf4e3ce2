"""How long a host or page is popular, who makes it so, and what pushes it out."""

from __future__ import annotations

import pytest

from gate.core.duration import DAY_US
from streams.core.campaigns import popular
from streams.core.campaigns.popular import KEPT_DAYS, LEAST_ESTABLISHED, PopularPages
from streams.core.crowd import HOST, Crowd

PAGE, TODAY = 7, 20_000


def known(crowd: Crowd, accounts: int = LEAST_ESTABLISHED) -> PopularPages:
    """Pages of which established accounts, 1 to `accounts`, linked to one today."""
    crowd.note(0, HOST, 99, 1, TODAY * DAY_US, False)
    pages = PopularPages(crowd)
    for account in range(1, accounts + 1):
        pages.note(PAGE, account, TODAY * DAY_US, True)
    return pages


def test_an_event_that_comes_two_months_late_makes_nothing_unpopular() -> None:
    pages = known(Crowd())

    pages.note(PAGE, 1, (TODAY - 60) * DAY_US, True)
    pages.note(PAGE, 2, TODAY * DAY_US, True)

    assert pages.has_page(PAGE)


def test_a_host_that_nobody_established_links_to_for_four_weeks_is_not_popular_any_more() -> None:
    crowd = Crowd()
    pages = known(crowd)
    popular_on = []

    for day in range(1, KEPT_DAYS + 2):
        crowd.note(0, HOST, 99, 1, (TODAY + day) * DAY_US, False)
        popular_on.append(pages.has_page(PAGE))

    assert popular_on == [True] * KEPT_DAYS + [False]


def test_accounts_that_are_established_no_more_make_a_page_unpopular() -> None:
    pages = known(Crowd())

    pages.note(PAGE, 1, TODAY * DAY_US, False)

    assert not pages.has_page(PAGE)


@pytest.mark.parametrize("accounts", [1, 4])
def test_a_few_established_accounts_that_link_everywhere_push_out_nothing_popular(
    accounts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(popular, "MAX_PAGES", 8)
    pages = known(Crowd())

    for page in range(100, 200):
        for account in range(50, 50 + accounts):
            pages.note(page, account, TODAY * DAY_US, True)

    assert pages.has_page(PAGE)


def test_what_is_forgotten_makes_room_before_what_few_link_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular, "MAX_PAGES", 2)
    crowd, later = Crowd(), TODAY + KEPT_DAYS + 1
    pages = known(crowd)
    for day in range(TODAY, later + 1):
        crowd.note(0, HOST, 99, 1, day * DAY_US, False)

    for page in (8, 9):
        pages.note(page, 1, later * DAY_US, True)
    for page in (8, 9):
        for account in range(2, LEAST_ESTABLISHED + 1):
            pages.note(page, account, later * DAY_US, True)

    assert pages.has_page(8)
    assert pages.has_page(9)


def test_a_farm_that_linked_to_its_host_first_is_counted_when_aged_accounts_follow() -> None:
    crowd = Crowd()
    for account in range(100, 160):
        crowd.note(0, HOST, PAGE, account, TODAY * DAY_US, False)

    pages = known(crowd)

    assert not pages.has_host(PAGE)
