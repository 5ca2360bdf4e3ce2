"""Campaigns of names: new sites that imitate one brand make one, and honest new sites do not."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np
import pytest

from gate.core.account import Account
from gate.core.event import Attempted
from streams.core.campaigns import CampaignKind, Campaigns, NamesAlike, names_alike
from streams.core.campaigns.names_alike import LEAST_ODDS, LEAST_SITES, LEVELS, SiteName, site_name
from streams.core.crowd import Crowd, account_number
from streams.core.crowd.kinds import NAME_CAMPAIGN
from streams.core.features import PLACE
from streams.core.models.alphabet import build_alphabet
from streams.core.models.link_model import LinkModel
from streams.core.models.name_model import MOST_EVIDENCE, MOST_RUNS, NameModel, evidence, runs_of
from streams.core.models.ngrams import NAME_BITS, TABLE_BITS
from streams.files.model_directory import load_models
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.lab.feature_vectors import vectors
from streams.lab.fit_names import counted
from streams.lab.honest_links import PEOPLE, TOPICS, honest_hosts
from streams.lab.link_rows import LinkRow, labelled_link
from streams.lab.rows import Recorded, attempted, read
from streams.lab.snapshots import fold_stream
from streams.worker.campaign_feed import hear
from tests.unit.test_campaigns import AT_US, listed
from tests.unit.test_campaigns import Worker as AnyWorker

WEB = load_web_links()
ALPHABET = build_alphabet()
WEIGHT = 0.5
ENDINGS = ("top", "xyz", "shop", "info", "click", "online", "site", "live")
LURES = ("secure", "login", "verify", "my", "help", "pay", "id", "app", "account", "signin")


def labelled(hosts: list[str]) -> list[LinkRow]:
    return [row for one in hosts if (row := labelled_link(one, 0, None, WEB)) is not None]


@pytest.fixture(scope="module")
def model() -> NameModel:
    return counted(labelled(honest_hosts(for_fitting=True)), WEB, WEIGHT)


def linking(account: str, host: str) -> tuple[str, Attempted]:
    return account, Attempted("e", None, Account(account), links=(f"https://{host}/",))  # type: ignore[arg-type]


class Worker(AnyWorker):
    """A worker that looks at names."""

    def __init__(self, model: NameModel) -> None:
        super().__init__()
        self.names = NamesAlike(self.crowd, model, WEB)
        self.campaigns = Campaigns(self.crowd, ALPHABET, capacity=1 << 10, names=self.names)

    def links(self, hosts: list[str], name: str = "a", day: int = 0, partition: int = 0, batch: int = 16) -> None:
        """Each host is linked to by an account of its own."""
        shown = [linking(f"{name}-{n}", one) for n, one in enumerate(hosts)]
        for start in range(0, len(shown), batch):
            self.batch(partition, *shown[start : start + batch], day=day)

    def odds(self, account: str) -> float:
        return self.of(account).name_odds

    @property
    def campaigns_of_names(self) -> int:
        return self.campaigns.sizes()[CampaignKind.NAME][0]


def lookalikes(count: int, brand: str = "quivotrade") -> list[str]:
    rng = random.Random(7)
    names = [f"{rng.choice(LURES)}-{brand}{rng.choice(('-', ''))}{rng.choice(LURES)}{n}" for n in range(count)]
    return [f"{name}.{rng.choice(ENDINGS)}" for name in names]


def test_forty_sites_that_imitate_one_brand_make_a_campaign_to_which_the_earlier_ones_belong(model: NameModel) -> None:
    worker = Worker(model)

    worker.links(lookalikes(40))

    assert sum(worker.odds(f"a-{n}") == WEIGHT * MOST_EVIDENCE for n in range(40)) >= 38
    assert worker.of("a-0").name >= 30
    assert worker.campaigns_of_names >= 1


def test_two_accounts_make_none_and_the_third_does(model: NameModel) -> None:
    worker = Worker(model)

    worker.links(lookalikes(2))
    two = worker.odds("a-0")
    worker.batch(0, linking("a-2", "pay-quivotrade.top"))

    assert two == 0.0
    assert worker.odds("a-0") >= LEAST_ODDS
    assert worker.odds("a-2") >= LEAST_ODDS
    assert worker.of("a-0").name == worker.of("a-2").name == 3
    assert worker.campaigns_of_names >= 1


def test_an_account_that_links_to_a_name_of_a_known_campaign_belongs_to_it_and_is_not_counted(model: NameModel) -> None:
    worker = Worker(model)
    sites = lookalikes(20)
    worker.links(sites)
    before = worker.of("a-0").name

    worker.links(sites[:1] * 30, name="later")

    assert worker.odds("later-0") == worker.odds("later-29") == worker.odds("a-0") > LEAST_ODDS
    assert worker.of("a-0").name == before


@pytest.mark.parametrize(
    "hosts",
    [
        [f"{name}photography.com" for name in PEOPLE[:40]],
        [f"{name}-restaurant.de" for name in TOPICS[:40]],
        [f"london{name}.co.uk" for name in TOPICS[:40]],
        [f"{name}.myblogplatform.example" for name in map(str, range(100_000, 100_040))],
        [f"tenant-xq{n}.weebly.com" for n in range(40)],
        [f"192.0.2.{n}" for n in range(40)],
        ["quivotrade-festival.org"] * 1_000,
    ],
    ids=["photographers", "restaurants", "a city", "subdomains", "a hoster's customers", "addresses", "one site"],
)
def test_honest_sites_make_no_campaign(model: NameModel, hosts: list[str]) -> None:
    worker = Worker(model)

    worker.links(hosts)

    assert worker.odds("a-0") == worker.odds(f"a-{len(hosts) - 1}") == 0.0
    assert worker.campaigns_of_names == 0


def test_honest_names_that_the_counts_do_not_know_make_hardly_any_campaign(model: NameModel) -> None:
    worker = Worker(model)
    hosts = random.Random(11).sample(honest_hosts(for_fitting=False), 2_000)

    worker.links(hosts, batch=64)

    concerned = sum(worker.odds(f"a-{n}") >= LEAST_ODDS for n in range(2_000))
    assert concerned <= 20


def test_a_word_in_the_news_makes_a_campaign_whose_odds_are_bounded(model: NameModel) -> None:
    worker = Worker(model)

    worker.links([f"{place}-zyklonhilfe.org" for place in ("kiel", "bonn", "ulm", "jena", "trier", "halle", "gera")])

    assert LEAST_ODDS <= worker.odds("a-6") <= WEIGHT * MOST_EVIDENCE


def test_one_account_cannot_make_a_campaign(model: NameModel) -> None:
    worker = Worker(model)

    for site in lookalikes(40):
        worker.batch(0, linking("one", site))

    assert worker.odds("one") == 0.0


def test_names_that_established_accounts_bring_do_not_count(model: NameModel) -> None:
    worker = Worker(model)

    worker.batch(0, *(linking(f"a-{n}", one) for n, one in enumerate(lookalikes(40))), established=True)

    assert worker.odds("a-0") == 0.0


def test_a_campaign_ends_after_two_weeks_without_a_new_name(model: NameModel) -> None:
    worker = Worker(model)
    worker.links(lookalikes(20))

    odds = []
    for day in (13, 14):
        worker.batch(0, linking(f"other-{day}", f"kindergarten-sonnenblume{day}.de"), day=day)
        odds.append(worker.odds("a-0"))

    assert odds[0] > LEAST_ODDS
    assert odds[1] == 0.0


def test_the_more_new_sites_there_are_the_more_may_share_a_run(model: NameModel) -> None:
    busy, quiet = Worker(model), Worker(model)
    rng = random.Random(5)
    letters = "bcdfghjklmnpqrstvwxz"
    others = ["".join(rng.choices(letters, k=9)) + ".org" for _ in range(5 * LEAST_SITES)]

    busy.links(others, name="other", batch=128)
    for worker in (busy, quiet):
        worker.links(lookalikes(4))

    assert quiet.names.new_sites() == LEAST_SITES
    assert 4 * LEAST_SITES < busy.names.new_sites() < 7 * LEAST_SITES


def test_two_workers_count_together_and_a_new_owner_continues(model: NameModel) -> None:
    first, second, after = Worker(model), Worker(model), Worker(model)
    sites = lookalikes(20)
    first.links(sites[:10], name="a", partition=0)
    second.links(sites[10:], name="b", partition=1)
    alone = second.of("b-9").name
    told = first.told(0)
    second.hear(told)
    after.hear(told + second.told(1))
    after.links(sites[:1], name="c", partition=0)

    assert second.of("b-9").name > alone
    assert second.odds("b-9") >= LEAST_ODDS
    assert after.odds("c-0") >= LEAST_ODDS


def test_a_campaign_of_names_is_listed_with_hosts_by_hash(model: NameModel) -> None:
    worker = Worker(model)
    worker.links(lookalikes(20))

    campaigns = listed(worker.told(0))

    assert {one.kind for one in campaigns} == {CampaignKind.NAME}
    assert all(one.id.startswith("name-") and one.members >= 3 for one in campaigns)
    assert all(set(example) <= set("0123456789abcdef") for one in campaigns for example in one.examples)


def test_runs_that_are_no_campaign_are_published_as_counts_of_the_crowd(model: NameModel) -> None:
    worker = Worker(replace(model, names=100))
    worker.links(lookalikes(6))

    changed = worker.crowd.take_changed(0)
    told, _ = worker.campaigns.told(0, changed)

    assert [count.count for count in changed if count.feature[0] == f"{NAME_CAMPAIGN:x}"]
    assert told == []


def test_a_record_of_a_campaign_of_names_is_read_by_a_worker_without_a_name_model(model: NameModel) -> None:
    worker, other = Worker(model), AnyWorker()
    worker.links(lookalikes(20))

    assert all(hear(other.campaigns, *record) for record in worker.told(0))
    other.campaigns.look()
    assert other.of("a-0").name_odds == 0.0


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("secure.acme-login.co.uk", SiteName("acme-login.co.uk", "acme-login", "")),
        ("birds.github.io", SiteName("birds.github.io", "birds", "github.io")),
        ("a.b.weebly.com", SiteName("b.weebly.com", "b", "weebly.com")),
        ("192.0.2.7", None),
        ("[2001:db8::1]", None),
        ("localhost", None),
    ],
)
def test_the_name_of_a_site_is_the_label_that_somebody_chose(host: str, expected: SiteName | None) -> None:
    assert site_name(host, WEB) == expected


def test_letters_that_look_alike_are_one_and_a_short_name_has_no_run() -> None:
    host = "qu\u0456votrade".encode("idna").decode()

    assert host.startswith("xn--")
    assert runs_of(host) == runs_of("quivotrade") == ["quivot", "uivotr", "ivotra", "votrad", "otrade"]
    assert runs_of("short") == []


def test_a_name_has_some_runs_that_are_no_words_and_names_alike_have_them_in_common(model: NameModel) -> None:
    long = model.runs("secure-quivotrade-photography-login")

    assert len(long) == MOST_RUNS
    assert set(long) & set(model.runs("quivotrade-photography-pay"))
    assert not any("photo" in run or "graphy" in run for run in long)
    assert model.runs("photography") == []


def test_evidence_grows_with_the_others_is_bounded_and_none_where_they_are_expected() -> None:
    assert [evidence(others, 2.0) for others in (0, 1, 2)] == [0.0, 0.0, 0.0]
    assert 0.0 < evidence(3, 2.0) < evidence(5, 2.0) < evidence(9, 2.0) < MOST_EVIDENCE
    assert evidence(1_000, 2.0) == MOST_EVIDENCE


@pytest.mark.parametrize(("size", "names", "weight"), [(7, 1, 0.5), (1 << 16, 0, 0.5), (1 << 16, 1, 1.5)])
def test_a_model_out_of_bounds_is_refused(size: int, names: int, weight: float) -> None:
    with pytest.raises(ValueError, match="a name model has"):
        NameModel(bytes(size), names, weight, "hash")


def test_a_host_that_was_met_costs_no_reading_of_its_name(model: NameModel) -> None:
    crowd = Crowd()
    names = NamesAlike(crowd, model, WEB)
    number = account_number("a")

    brought = names.show("www.acme-login.top", number, is_new=True)

    assert brought is not None
    assert brought.runs
    assert names.is_met("www.acme-login.top")
    assert names.show("www.acme-login.top", number, is_new=True) is None
    assert names.show("other.acme-login.top", number, is_new=True) is None


def test_the_work_for_one_upload_is_bounded(model: NameModel) -> None:
    worker = Worker(model)
    rng = random.Random(8)
    hosts = [f"{''.join(rng.choices('bcdfghklmnp', k=63))}.top" for _ in range(30)]
    event = Attempted("e", None, Account("a"), links=tuple(f"https://{one}/" for one in hosts))  # type: ignore[arg-type]

    shown = worker.campaigns.read([event], [AT_US])

    assert 3 * MOST_RUNS < len(shown[NAME_CAMPAIGN].numbers) <= 3 * (MOST_RUNS + LEVELS)
    assert worker.campaigns.read([event], [AT_US])[NAME_CAMPAIGN].numbers == []


def test_a_worker_remembers_so_many_hosts_and_forgets_those_that_were_linked_to_longest_ago(
    model: NameModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_alike, "MAX_MET", 4)
    names = NamesAlike(Crowd(), model, WEB)

    for host in (
        "quivot-one.top",
        "quivot-two.top",
        "quivot-one.top",
        "quivot-six.top",
        "quivot-ten.top",
        "quivot-red.top",
    ):
        names.show(host, 1, is_new=True)

    assert not names.is_met("quivot-two.top")
    assert names.is_met("quivot-one.top")
    assert names.is_met("quivot-red.top")


def linked_once(hosts: list[str], tmp_path: Path) -> Sequence[Recorded]:
    """Each host is linked to by an account of its own, ten a day."""
    rows = [
        {
            "account_id": f"a-{n}",
            "label": 1,
            "t": 1_700_000_000 + n // 10 * 86_400 + n,
            "text": "hello there",
            "urls": [f"https://{host}/"],
        }
        for n, host in enumerate(hosts)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read(tmp_path / "rows.jsonl").uploads


def test_accounts_of_a_labelled_stream_belong_to_the_campaigns_that_a_worker_with_these_models_finds(
    model: NameModel, tmp_path: Path
) -> None:
    uploads, card = linked_once(lookalikes(40), tmp_path), load_scorecard(None)

    with_names = fold_stream(uploads, card, None, (), names=model).last()
    without = fold_stream(uploads, card, None, ()).last()

    place = PLACE["name_campaign"]
    assert sum(one.vector[place] >= 4 for one in with_names.values()) >= 38
    assert {one.vector[place] for one in without.values()} <= {0.0}


def test_vectors_that_a_replay_writes_have_what_the_models_read(model: NameModel, tmp_path: Path) -> None:
    events = [
        (upload.label, attempted(upload.request, upload.at_us)) for upload in linked_once(lookalikes(40), tmp_path)
    ]
    shipped = load_models(None)
    shares = LinkModel(
        np.ones(1 << NAME_BITS, np.int16), np.ones(1 << TABLE_BITS, np.int16), 1e-3, 0.5, 1.0, 0.0, "test"
    )
    models = replace(shipped, read={**shipped.read, "links": shares, "names": model})

    *_, last = vectors(events, models)

    assert last.features["name_campaign"] >= 4
    assert not isnan(last.features["caption_odds"])
    assert not isnan(last.features["link_odds"])


def test_accounts_of_a_labelled_stream_with_honest_names_are_not_judged_again(model: NameModel, tmp_path: Path) -> None:
    uploads = linked_once([f"{name}photography.com" for name in PEOPLE[:40]], tmp_path)

    snapshots = fold_stream(uploads, load_scorecard(None), None, (), names=model).snapshots

    assert [one.account for one in snapshots if one.again] == []
