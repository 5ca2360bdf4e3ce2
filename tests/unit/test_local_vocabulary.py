"""Words that a platform's own popular sites share make no campaign of names, and what one brand's sites share does."""

from __future__ import annotations

import pytest

from gate.core.duration import DAY_US
from streams.core.campaigns import NamesAlike, local_vocabulary
from streams.core.campaigns.local_vocabulary import WORD_FROM, LocalVocabulary
from streams.core.campaigns.mixing import number_of
from streams.core.campaigns.names_alike import LEAST_ODDS
from streams.core.campaigns.popular import LEAST_ESTABLISHED
from streams.core.crowd import Crowd, account_number
from streams.core.models.name_model import NameModel, checksum, runs_of
from streams.files.public_suffixes import load_web_links
from tests.unit.test_campaigns import AT_US
from tests.unit.test_name_campaigns import LURES, Worker, linking, lookalikes
from tests.unit.test_name_campaigns import model as model  # the fixture

CITY = "zwolgrad"
TOPICS = ("cafe", "run", "jobs", "mops", "taxi", "sail", "noir", "hub", "pets", "vets", "arts", "folk")
LOCAL_SITES = [f"{CITY}-news.example", f"visit{CITY}.example", f"{CITY}.live.example", f"radio-{CITY}.example"]


class Platform(Worker):
    """A worker that knows hosts by number, as the step gives them."""

    def shows(self, hosts: list[str], established: int, name: str = "member", day: int = 0) -> None:
        """Each of so many established accounts links to all hosts; of 0, a stranger does to each."""
        at_us = AT_US + day * DAY_US
        shown = [linking(f"{name}-{n}", host) for n in range(established) for host in hosts] or [
            linking(f"{name}-{n}", host) for n, host in enumerate(hosts)
        ]
        members = {account_number(account) for account, _ in shown} if established else set()
        for account, event in shown:
            number = {host: number_of(host) for host in hosts}
            for host in event.links:
                owner = account_number(account)
                self.campaigns.popular.note(number[host.split("/")[2]], owner, at_us, owner in members)
            self.campaigns.read([event], [at_us], number, members)


@pytest.fixture
def platform(model: NameModel) -> Platform:
    return Platform(model)


def new_sites(word: str = CITY) -> list[str]:
    return [f"{topic}-{word}-{n}.example" for n, topic in enumerate(TOPICS)]


def campaign_of(platform: Platform, hosts: list[str]) -> float:
    """The most that a campaign adds to one of the strangers that link to the hosts, one to each."""
    platform.links(hosts, name="stranger")
    return max(platform.odds(f"stranger-{n}") for n in range(len(hosts)))


def test_a_word_that_popular_sites_share_makes_no_campaign_and_made_one_before(
    platform: Platform, model: NameModel
) -> None:
    elsewhere = campaign_of(Platform(model), new_sites())

    platform.shows(LOCAL_SITES, established=LEAST_ESTABLISHED)

    assert elsewhere >= LEAST_ODDS
    assert campaign_of(platform, new_sites()) == 0.0


@pytest.mark.parametrize("hosts", [("{0}-{1}", "5{0}-{1}", "my{0}-{1}"), ("{1}{0}", "{1}{0}-2", "my{1}{0}")])
@pytest.mark.parametrize("beside", ["s", "ts", "ets", "jets", "quay"])
def test_a_run_over_the_edge_of_a_local_word_makes_no_campaign(
    platform: Platform, model: NameModel, hosts: tuple[str, ...], beside: str
) -> None:
    sites = [f"{host.format(beside, CITY)}.example" for host in hosts]
    elsewhere = campaign_of(Platform(model), sites)

    platform.shows(LOCAL_SITES, established=LEAST_ESTABLISHED)

    assert elsewhere >= LEAST_ODDS
    assert campaign_of(platform, sites) == 0.0


def test_lookalikes_that_carry_a_local_word_are_still_a_campaign_of_their_brand(platform: Platform) -> None:
    platform.shows(LOCAL_SITES, established=LEAST_ESTABLISHED)

    assert campaign_of(platform, [f"{lure}-quivotrade-{CITY}.example" for lure in LURES[:6]]) >= LEAST_ODDS


@pytest.mark.parametrize(
    ("sites", "members"),
    [(LOCAL_SITES, LEAST_ESTABLISHED - 1), (LOCAL_SITES[: WORD_FROM - 1], LEAST_ESTABLISHED), (LOCAL_SITES, 0)],
    ids=["too few members", "too few sites", "strangers alone"],
)
def test_sites_that_are_not_popular_and_too_few_popular_ones_make_no_word(
    platform: Platform, sites: list[str], members: int
) -> None:
    platform.shows(sites, established=members)

    assert campaign_of(platform, new_sites()) >= LEAST_ODDS


def test_lookalikes_of_a_brand_whose_own_sites_are_popular_are_still_a_campaign(platform: Platform) -> None:
    own = [f"quivotrade.{ending}" for ending in ("com", "de", "fr", "co.uk")] + ["help.quivotrade.com"]

    platform.shows(own, established=LEAST_ESTABLISHED)

    assert campaign_of(platform, lookalikes(20)) >= LEAST_ODDS


def test_a_campaign_of_a_word_ends_when_the_word_becomes_known(platform: Platform) -> None:
    before = campaign_of(platform, [f"{CITY}{n}.example" for n in range(12)])

    platform.shows(LOCAL_SITES, established=LEAST_ESTABLISHED)
    platform.campaigns.look()

    assert before >= LEAST_ODDS
    number = number_of(f"run {CITY[:6]}")
    platform.names.heard(number)
    assert not platform.names.is_live(number)
    assert platform.names.odds(number) == 0.0


def test_a_name_counts_once_for_a_word_however_often_it_is_learnt() -> None:
    vocabulary = LocalVocabulary()

    again = [run for _ in range(9) for run in vocabulary.learn(f"{CITY}-news")]
    second, third = vocabulary.learn(f"visit{CITY}"), vocabulary.learn(f"the{CITY}")

    assert again == second == []
    assert third == runs_of(CITY)
    assert [vocabulary.has(checksum(run)) for run in ("wolgra", "d-news")] == [True, False]


def test_the_vocabulary_is_bounded_and_the_run_that_came_up_longest_ago_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_vocabulary, "MAX_RUNS", 4)
    vocabulary = LocalVocabulary()
    for name in ("aaaaaaa", "baaaaaa", "caaaaaa"):
        vocabulary.learn(name)
    kept = vocabulary.has(checksum("aaaaaa"))

    for lure in LURES:
        vocabulary.learn(f"{lure}-{lure}")

    assert kept
    assert not vocabulary.has(checksum("aaaaaa"))
    assert len(vocabulary._names) == 4


def test_a_host_that_became_popular_is_looked_at_once_more_and_then_never(model: NameModel) -> None:
    names = NamesAlike(Crowd(), model, load_web_links())
    names.show(f"{CITY}-news.example", 1, is_new=True)
    before = names.may_say_more(f"{CITY}-news.example")

    names.pass_by(f"{CITY}-news.example")

    assert before
    assert names.is_met(f"{CITY}-news.example")
    assert not names.may_say_more(f"{CITY}-news.example")
