"""Campaigns: what belongs together, who belongs to it, and that its members add up over partitions and restarts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gate.core.account import Account
from gate.core.duration import DAY_US
from gate.core.event import Attempted
from gate.core.media import Media
from streams.core.campaigns import CampaignKind, Campaigns, Feature, Membership, campaign_id, key_of, known, parsed_id
from streams.core.campaigns.campaign import KIND_OF
from streams.core.campaigns.captions_alike import CaptionGroups
from streams.core.campaigns.catalogue import Campaign, Catalogue
from streams.core.campaigns.links_alike import link_shape
from streams.core.campaigns.pictures import Pictures
from streams.core.crowd import Crowd, CrowdCount, account_number
from streams.core.models.alphabet import build_alphabet
from streams.core.near import SHORT_HASH
from streams.worker.campaign_feed import hear
from tests.columns import columns_of, each
from tests.unit.test_near import flipped, some_hashes

AT_US = 1_795_428_000_000_000
DAY = AT_US // DAY_US
ALPHABET = build_alphabet()
TODAY = AT_US // DAY_US
WORDS = "earn five thousand dollars a week from home just write to my telegram"


def picture(number: int = 0, distance: int = 0, seed: int = 5) -> str:
    """One of two thousand pictures, or one near it."""
    base = some_hashes(SHORT_HASH, 2_000)[number : number + 1]
    return f"{int(flipped(base, distance, 64, seed)[0, 0]):016x}"


def upload(phash: str | None = None, text: str | None = None, links: tuple[str, ...] = ()) -> Attempted:
    media = None if phash is None else Media("image", phash=phash)
    return Attempted("e", None, Account("a"), media=media, text=text, links=links)  # type: ignore[arg-type]


class Worker:
    """One worker: its crowd and campaigns, and the topic's records of them."""

    def __init__(self) -> None:
        self.crowd = Crowd()
        self.campaigns = Campaigns(self.crowd, ALPHABET, capacity=1 << 12)

    def batch(self, partition: int, *shown: tuple[str, Attempted], day: int = 0, established: bool = False) -> None:
        at_us = AT_US + day * DAY_US
        found = self.campaigns.read([event for _, event in shown], [at_us] * len(shown))
        accounts = [self.crowd.numbers.of(account) for account, _ in shown]
        told = [(accounts[place], {feature: at_us}, established) for place, feature in each(found)]
        self.crowd.note_batch(partition, columns_of(told))
        self.campaigns.look(accounts, found)

    def told(self, partition: int) -> list[tuple[bytes, bytes]]:
        counts, _ = self.campaigns.told(partition, self.crowd.take_changed(partition))
        return [(key_of(partition, count), count.record) for count in counts]

    def hear(self, records: list[tuple[bytes, bytes]]) -> None:
        for key, value in records:
            assert hear(self.campaigns, key, value)
        self.campaigns.look()

    def of(self, account: str) -> Membership:
        return self.campaigns.of(self.crowd.numbers.of(account))


def listed(*records: list[tuple[bytes, bytes]], today: int = TODAY) -> list[Campaign]:
    catalogue = Catalogue()
    for key, value in [record for some in records for record in some]:
        partition, _, campaign = key.decode().partition(":")
        catalogue.add(int(partition), campaign, value)
    return catalogue.all(today)


def near_pictures(accounts: int, name: str = "a", number: int = 0) -> list[tuple[str, Attempted]]:
    return [(f"{name}-{n}", upload(picture(number, 4, seed=n))) for n in range(accounts)]


def test_pictures_that_look_nearly_the_same_are_one_campaign_whatever_batches_they_come_in() -> None:
    together, singly = Worker(), Worker()
    shown = near_pictures(12)

    together.batch(0, *shown)
    for one in shown:
        singly.batch(0, one)

    for worker in (together, singly):
        (campaign,) = listed(worker.told(0))
        assert (campaign.kind, campaign.members) == (CampaignKind.CONTENT, 12)
        assert worker.of("a-3").content == 12


def test_other_pictures_and_empty_ones_belong_to_no_campaign() -> None:
    worker = Worker()

    worker.batch(0, *((f"a-{n}", upload(picture(n))) for n in range(20)))
    worker.batch(0, *((f"b-{n}", upload("0" * 16)) for n in range(20)))

    assert worker.told(0) == []
    assert worker.of("a-1") == worker.of("b-1") == Membership()


def test_captions_that_share_most_of_their_words_are_one_campaign_in_spite_of_case_digits_and_hidden_marks() -> None:
    worker = Worker()
    captions = [f"{WORDS} 5", WORDS.upper(), WORDS.replace("e", "e\u200b"), f"{WORDS}!!!", " ".join(f"{WORDS} today")]

    worker.batch(0, *((f"a-{n}", upload(text=text)) for n, text in enumerate(captions)))
    worker.batch(0, ("b", upload(text="what a lovely evening down by the harbour, we watched the seals")))

    assert worker.of("a-0").text == 5
    assert worker.of("b").text == 0


def test_captions_that_nobody_repeats_push_out_no_campaign_that_is_still_shown() -> None:
    groups = CaptionGroups(most=400)
    numbers = np.random.default_rng(3)
    begun = groups.group((1, 2, 3, 4))
    found = []

    for _ in range(20):
        for marks in numbers.integers(1 << 32, size=(50, 4)).tolist():
            groups.group(tuple(marks))
        found.append(groups.group((1, 2, *numbers.integers(1 << 32, size=2).tolist())))

    assert set(found) == {begun}


def test_short_captions_that_everybody_writes_are_none() -> None:
    worker = Worker()

    worker.batch(0, *((f"a-{n}", upload(text="happy birthday")) for n in range(30)))

    assert worker.of("a-0") == Membership()


@pytest.mark.parametrize(
    ("link", "shape"),
    [
        ("https://www.Shop.example/Sale/123?x=7#top", "shop.example/sale/*"),
        ("shop.example/sale/456", "shop.example/sale/*"),
        ("https://shop.example/invite/aBcDeFgHiJkLmNoPqRsTuVw", "shop.example/invite/*"),
        ("https://shop.example/", ""),
        ("https://shop.example", ""),
        ("mailto:someone@shop.example/x", ""),
        ("no link", ""),
    ],
)
def test_the_shape_of_a_link_is_its_host_and_what_stays_of_its_path(link: str, shape: str) -> None:
    assert link_shape(link) == shape


def test_links_of_one_shape_are_one_campaign() -> None:
    worker = Worker()

    worker.batch(0, *((f"a-{n}", upload(links=(f"https://prize.example/win/{n}",))) for n in range(6)))

    assert worker.of("a-5").link == 6


def test_one_account_makes_no_campaign_however_much_it_uploads() -> None:
    worker = Worker()

    worker.batch(0, *(("one", upload(picture(0, 3, seed=n), WORDS)) for n in range(30)))

    assert worker.of("one") == Membership()
    assert worker.told(0) == []


def test_the_members_of_all_partitions_add_up_and_each_account_counts_once() -> None:
    low, high = Worker(), Worker()
    low.batch(0, *near_pictures(9))
    low.batch(0, *near_pictures(9))
    high.hear(low.told(0))

    high.batch(1, *near_pictures(7, "b"))
    records = high.told(1)
    low.hear(records)

    assert high.of("b-0").content == low.of("a-0").content == 16
    assert [one.members for one in listed(low.told(0), records)] == [7]  # nothing new to tell of partition 0
    assert low.campaigns.among([account_number("a-1"), account_number("nobody")]) == {account_number("a-1")}
    assert [campaign.members for campaign in listed(_again(low, 0), _again(high, 1))] == [16]


def _again(worker: Worker, partition: int) -> list[tuple[bytes, bytes]]:
    """All that a worker tells of a partition, once more."""
    features = [(kind, value) for kind in KIND_OF for value in worker.crowd.values_of(kind)]
    worker.crowd.give_back(partition, [CrowdCount(f"{kind:x}{value:016x}", 0) for kind, value in features])
    return [record for record in worker.told(partition) if b"same_as" not in record[1]]


def test_a_worker_that_hears_of_a_campaign_gives_near_contents_the_same_id() -> None:
    low, high = Worker(), Worker()
    low.batch(0, *near_pictures(5))
    told = low.told(0)

    high.hear(told)
    high.batch(1, *near_pictures(5, "b"))

    assert {key.partition(b":")[2] for key, _ in told} == {key.partition(b":")[2] for key, _ in high.told(1)}


@pytest.mark.parametrize("order", [1, -1])
def test_two_workers_that_found_a_campaign_apart_agree_on_the_smaller_id_and_count_nobody_twice(order: int) -> None:
    low, high = Worker(), Worker()
    low.batch(0, *near_pictures(6)[::order])
    high.batch(1, *near_pictures(7, "b")[::-order], *near_pictures(2, "c"))
    first, second = low.told(0), high.told(1)

    high.hear(first)
    low.hear(second)
    after = [low.told(0), high.told(1)]

    (campaign,) = listed(first, second, *after)
    ids = sorted(key.decode().partition(":")[2] for key, _ in [*first, *second])
    assert campaign.id == ids[0]
    assert campaign.members == low.of("a-1").content == high.of("b-1").content == 15
    assert campaign.also == tuple(dict.fromkeys(i for i in ids if i != ids[0]))


def test_captions_found_apart_become_one_campaign_too() -> None:
    low, high = Worker(), Worker()
    low.batch(0, *((f"a-{n}", upload(text=f"{WORDS} now")) for n in range(5)))
    high.batch(1, *((f"b-{n}", upload(text=f"{WORDS} soon")) for n in range(6)))

    high.hear(low.told(0))

    assert high.of("b-0").text == 11


def test_a_record_of_another_version_or_a_damaged_one_is_passed_over() -> None:
    worker = Worker()
    worker.batch(0, *near_pictures(5))
    ((key, value),) = worker.told(0)
    newer = json.dumps({**json.loads(value), "version": 2}).encode()

    fresh = Worker()
    heard = [
        hear(fresh.campaigns, key, damaged)
        for damaged in (newer, value[:-3], None, b"[1]", value.replace(b'"first_us":', b'"first_us":9'), b"{}" * 9_999)
    ]
    heard += [hear(fresh.campaigns, bad, value) for bad in (b"0:content-1", b"x", b"999999999999:" + key[2:], None)]

    assert not any(heard)
    assert hear(fresh.campaigns, key, value)


def test_an_alias_leads_to_the_smaller_id_only_so_that_none_leads_in_a_circle() -> None:
    worker = Worker()
    low, high = "content-0000000000000001", "content-0000000000000002"

    assert hear(worker.campaigns, f"0:{high}".encode(), b'{"version":1,"same_as":"%s"}' % low.encode())
    assert not hear(worker.campaigns, f"0:{low}".encode(), b'{"version":1,"same_as":"%s"}' % high.encode())
    assert not hear(worker.campaigns, f"0:{low}".encode(), b'{"version":1,"same_as":"%s"}' % low.encode())
    assert not hear(worker.campaigns, f"0:{high}".encode(), b'{"version":1,"same_as":"text-0000000000000001"}')


def test_a_campaign_ends_when_its_members_have_not_shown_it_for_three_days() -> None:
    worker = Worker()
    worker.batch(0, *near_pictures(9))
    records = worker.told(0)

    for day in (1, 2, 3):
        worker.batch(0, ("later", upload(picture(9 + day))), day=day)

    assert worker.of("a-0") == Membership()
    assert listed(records, today=TODAY + 2) != []
    assert listed(records, today=TODAY + 3) == []
    assert worker.campaigns.sizes()[CampaignKind.CONTENT] == (0, 0)


def test_a_record_tells_when_it_was_seen_and_examples_by_hash_and_no_text_or_address() -> None:
    worker = Worker()
    shown = upload(picture(0), f"{WORDS} secret", ("https://prize.example/win/1",))
    worker.batch(0, *((f"a-{n}", shown) for n in range(5)))
    worker.batch(0, ("late", shown), day=1)

    campaigns = listed(worker.told(0))

    assert {campaign.kind for campaign in campaigns} == set(CampaignKind) - {CampaignKind.NAME}
    for campaign in campaigns:
        assert (campaign.first_us, campaign.last_us) == (AT_US // 60_000_000 * 60_000_000, AT_US + DAY_US)
        assert 1 <= len(campaign.examples) <= 3
        assert all(set(example) <= set("0123456789abcdef") for example in campaign.examples)


def test_established_members_are_counted_apart() -> None:
    worker = Worker()
    worker.batch(0, *near_pictures(4), established=True)
    worker.batch(0, *near_pictures(5, "b"))

    assert (worker.of("b-0").content, worker.of("b-0").content_established) == (9, 4)
    assert [campaign.established for campaign in listed(worker.told(0))] == [4]


def test_who_joined_is_counted_once() -> None:
    worker = Worker()
    joined = []
    for count in (5, 5, 7):
        worker.batch(0, *near_pictures(count))
        joined.append(dict(worker.campaigns.told(0, worker.crowd.take_changed(0))[1]))

    assert joined == [{CampaignKind.CONTENT: 5}, {}, {CampaignKind.CONTENT: 2}]


def test_bounds_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MAX_SIGHTINGS", 3)
    monkeypatch.setattr(known, "MAX_ACCOUNTS", 10)
    worker = Worker()

    for number in range(8):
        worker.batch(0, *near_pictures(5, f"c{number}", number))

    inner = worker.campaigns._known
    assert len(inner.sightings) <= 3
    assert len(inner._of_account) <= 10
    assert worker.of("c7-4").content == 5


@pytest.mark.parametrize(
    "text", ["", "content", "content-12", "content-" + "g" * 16, "moon-" + "0" * 16, "content-" + "A" * 16]
)
def test_text_that_is_not_an_id_is_named(text: str) -> None:
    assert parsed_id(text) is None


def test_ids_are_read_as_they_are_written() -> None:
    features: list[Feature] = [(5, 1), (6, (1 << 63) - 1), (7, 99)]

    assert [parsed_id(campaign_id(feature)) for feature in features] == features


def test_a_group_of_pictures_has_a_number_that_follows_from_its_first_member() -> None:
    hashes = [picture(0, 4, seed=n) for n in range(9)]

    groups = Pictures(1 << 10).groups(hashes)

    assert set(groups) == {Pictures(1 << 10).groups(hashes[:1])[0]}
    assert len(set(Pictures(1 << 10).groups([picture(n) for n in range(50)]))) == 50


def test_long_hashes_are_compared_among_themselves() -> None:
    rng = np.random.default_rng(3)
    parts = [f"{int(number):016x}" for number in rng.integers(1 << 40, 1 << 62, 4)]
    long = "".join(parts)
    near = long[:-1] + ("0" if long[-1] != "0" else "1")

    groups = Pictures(1 << 10).groups([long, near, parts[0]])

    assert groups[0] == groups[1] != groups[2]
    assert min(groups) > 0
