"""Which campaigns an upload shows, when they were shown first, and what is told and heard of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from gate.core.account import Account
from gate.core.duration import DAY_US, MINUTE_US
from gate.core.event import Attempted
from gate.core.media import Media
from streams.core.campaigns.campaign import CampaignKind, Feature, campaign_id, written_alias
from streams.core.campaigns.campaigns import Campaigns, key_of
from streams.core.campaigns.mixing import number_of, number_of_hash
from streams.core.crowd import HOST, IP, Crowd, CrowdCount
from streams.core.crowd.kinds import LINK_CAMPAIGN, PICTURE_CAMPAIGN, TEXT_CAMPAIGN
from streams.core.crowd.record import name
from streams.core.models.alphabet import build_alphabet
from streams.core.near import SHORT_HASH
from tests.columns import each, of_uploads
from tests.unit.test_near import flipped, some_hashes

ALPHABET = build_alphabet()
TODAY = 20_780
NOW_US = TODAY * DAY_US
SHA = "ab" * 32
TEXT = "earn five thousand dollars a week from home just write to me"


def upload(account: str = "a", text: str | None = None, links: tuple[str, ...] = (), **media: str) -> Attempted:
    return Attempted(
        "e", None, Account(account), media=Media("image", **media) if media else None, text=text, links=links
    )  # type: ignore[arg-type]


class Worker:
    """A crowd and its campaigns, where accounts 0, 1, 2 … show one upload after the other."""

    def __init__(self) -> None:
        self.crowd = Crowd()
        self.campaigns = Campaigns(self.crowd, ALPHABET, capacity=1 << 10)

    def shows(self, event: Attempted) -> tuple[Feature, ...]:
        return of_uploads(self.campaigns.read([event], [NOW_US]), 1)[0]

    def show(self, event: Attempted, accounts: Sequence[int], at_us: int = NOW_US, partition: int = 0) -> Feature:
        """The only campaign of the upload, which these accounts show."""
        for account in accounts:
            shown = self.campaigns.read([event], [at_us])
            ((feature,),) = of_uploads(shown, 1)
            self.crowd.note(partition, *feature, account, at_us)
            self.campaigns.look([account], shown)
        return feature

    def told(self, partition: int = 0) -> list[tuple[str, dict[str, object]]]:
        records, _ = self.campaigns.told(partition, self.crowd.take_changed(partition))
        return [(key_of(partition, record).decode(), json.loads(record.record)) for record in records]


def test_a_content_is_known_by_its_perceptual_hash_or_else_by_its_bytes() -> None:
    near = f"{int(some_hashes(SHORT_HASH, 1)[0, 0]):016x}"
    worker = Worker()

    by_bytes, by_looks, other, none = (
        worker.shows(upload(sha256=SHA)),
        worker.shows(upload(sha256=SHA, phash=near)),
        worker.shows(upload(sha256=SHA, phash="another algorithm")),
        worker.shows(upload(phash="0" * 16, sha256=SHA)),
    )

    assert by_bytes == ((PICTURE_CAMPAIGN, number_of_hash(SHA)),)
    assert by_looks == worker.shows(upload(phash=near))
    assert len({by_bytes, by_looks, other}) == 3
    assert other == ((PICTURE_CAMPAIGN, number_of("another algorithm")),)
    assert none == worker.shows(upload()) == worker.shows(upload(text="short", links=("https://a.example/",))) == ()


def test_an_upload_shows_its_content_its_caption_and_three_links() -> None:
    links = tuple(f"https://h{number}.example/win" for number in range(5))
    worker = Worker()

    features = worker.shows(upload(text=TEXT, links=(*links[:1], *links), sha256=SHA))

    assert [kind for kind, _ in features] == [PICTURE_CAMPAIGN, TEXT_CAMPAIGN, LINK_CAMPAIGN, LINK_CAMPAIGN]
    assert features[2:] == tuple((LINK_CAMPAIGN, number_of(f"h{number}.example/win")) for number in (0, 1))
    assert worker.shows(upload(text=TEXT)) == features[1:2]


def test_on_a_popular_host_a_link_is_told_by_its_page_and_on_others_by_its_shape() -> None:
    worker = Worker()
    hosts = {"popular.example": 5, "other.example": 6}
    for account in range(5):
        worker.crowd.note(0, HOST, 5, account, NOW_US, established=True)

    def shown(link: str) -> tuple[Feature, ...]:
        return of_uploads(worker.campaigns.read([upload(links=(link,))], [NOW_US], hosts), 1)[0]

    assert shown("https://other.example/a/1") == ((LINK_CAMPAIGN, number_of("other.example/a/*")),)
    assert shown("https://popular.example/a/1?x=abcdef") == ((LINK_CAMPAIGN, number_of("popular.example/a/1")),)


def test_a_campaign_was_shown_first_by_the_first_account_and_last_by_the_last() -> None:
    worker = Worker()

    feature = worker.show(upload(sha256=SHA), [0], NOW_US)
    worker.show(upload(sha256=SHA), [1, 2, 3], NOW_US + 5 * MINUTE_US)
    worker.show(upload(sha256=SHA), [4], NOW_US + 9 * MINUTE_US + 7)

    ((key, told),) = worker.told()
    assert key == f"0:{campaign_id(feature)}"
    assert (told["first_us"], told["last_us"], told["examples"]) == (NOW_US, NOW_US + 9 * MINUTE_US + 7, [SHA])
    assert told["counts"] == [2, TODAY, [5, 5, 5], [0, 0, 0]]


def test_members_that_a_partition_adds_are_counted_once() -> None:
    worker = Worker()
    worker.show(upload(sha256=SHA), range(5))
    changed = worker.crowd.take_changed(0)

    added = [dict(worker.campaigns.told(0, changed)[1]) for _ in range(2)]
    worker.show(upload(sha256=SHA), range(5, 8))
    more = dict(worker.campaigns.told(0, worker.crowd.take_changed(0))[1])

    assert added == [{CampaignKind.CONTENT: 5}, {CampaignKind.CONTENT: 0}]
    assert more == {CampaignKind.CONTENT: 3}
    assert worker.campaigns.told(0, [CrowdCount(name(IP, 7), 9)]) == ([], {})
    assert key_of(0, CrowdCount("nothing", 9)) == b""


def test_sizes_are_by_kind_how_many_campaigns_there_are_and_the_largest() -> None:
    worker = Worker()
    for number, accounts in enumerate((4, 6, 3)):
        worker.show(upload(sha256=f"{number}f" * 32), range(accounts))
    worker.show(upload(text=TEXT), range(5))

    assert worker.campaigns.sizes() == {
        CampaignKind.CONTENT: (2, 6),
        CampaignKind.LINK: (0, 0),
        CampaignKind.TEXT: (1, 5),
        CampaignKind.NAME: (0, 0),
    }


@pytest.mark.parametrize(("partition", "heard"), [(-1, False), (0, True), (0xFFFF, True), (0x1_0000, False)])
def test_records_of_partitions_of_a_topic_are_heard(partition: int, heard: bool) -> None:
    one, other = Worker(), Worker()
    feature = one.show(upload(sha256=SHA), range(5))
    records, _ = one.campaigns.told(0, one.crowd.take_changed(0))

    assert other.campaigns.hear(partition, campaign_id(feature), records[0].record, NOW_US) is heard
    assert other.crowd.count(*feature) == (5 if heard else 0)


def test_what_another_worker_tells_of_a_near_picture_joins_this_worker_s_campaign() -> None:
    base = some_hashes(SHORT_HASH, 1)
    texts = [f"{int(rows[0, 0]):016x}" for rows in (base, flipped(base, 3, 64))]
    one, other = Worker(), Worker()
    features = [one.show(upload(phash=texts[0]), range(5)), other.show(upload(phash=texts[1]), range(10, 16))]
    records, _ = one.campaigns.told(0, one.crowd.take_changed(0))

    assert other.campaigns.hear(1, campaign_id(features[0]), records[0].record, NOW_US)
    other.campaigns.look()

    stays, goes = sorted(features)
    assert other.crowd.count(*stays) == 11
    assert other.campaigns.of(10).content == 11
    assert other.shows(upload(phash=texts[1])) == (stays,)
    if goes == features[1]:
        assert (f"0:{campaign_id(goes)}", {"version": 1, "same_as": campaign_id(stays)}) in other.told()


def test_an_alias_unites_campaigns_of_one_kind_with_the_smaller_one() -> None:
    worker = Worker()
    low, high = (PICTURE_CAMPAIGN, 5), (PICTURE_CAMPAIGN, 9)

    heard = [
        worker.campaigns.hear(0, campaign_id(of), written_alias(same))
        for of, same in ((high, low), (low, high), (low, low), ((TEXT_CAMPAIGN, 9), low))
    ]

    assert heard == [True, False, False, False]
    assert not worker.campaigns.hear(0, "nothing", written_alias(low))


def test_an_upload_that_cannot_be_read_shows_no_campaign_and_costs_no_other_its_own() -> None:
    worker = Worker()
    broken = upload(sha256=SHA, links=(None,))  # type: ignore[arg-type]

    shown = worker.campaigns.read([upload(sha256=SHA), broken, upload(text=TEXT)], [NOW_US] * 3)

    assert [len(features) for features in of_uploads(shown, 3)] == [1, 0, 1]
    assert not list(each(worker.campaigns.read([], [])))


def test_all_links_of_an_upload_are_shown_when_it_was_whatever_its_neighbours_show() -> None:
    worker = Worker()
    links = ("https://one.example/a/1", "https://two.example/b/2")

    for account in range(4):
        shown = worker.campaigns.read([upload(links=links), upload()], [NOW_US, NOW_US + 60 * MINUTE_US])
        for _, feature in each(shown):
            worker.crowd.note(0, *feature, account, NOW_US)
        worker.campaigns.look([account, 9], shown)

    records = [record for _, record in worker.told()]
    assert [(record["first_us"], record["last_us"]) for record in records] == [(NOW_US, NOW_US)] * 2
