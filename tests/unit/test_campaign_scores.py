"""What campaigns do to scores: waves of strangers are refused, and honest people who share something keep their scores."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from streams.core.campaigns import Campaigns
from streams.core.crowd import Backfill, Crowd
from streams.core.models.alphabet import build_alphabet
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.effects import CampaignCounts
from streams.pipeline.hashes import Hashes
from streams.pipeline.stamps import Stamps
from streams.pipeline.step import Record, process
from tests.unit.test_campaigns import picture

SHIPPED = load_scorecard(None)
WEB = load_web_links()
ALPHABET = build_alphabet()
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PITCH = "Last chance to double your coins, send them to my wallet and I send back twice as much"


class Platform:
    """One partition with all that a worker has, and the accounts' last risks."""

    def __init__(self, with_campaigns: bool = True) -> None:
        self.crowd = Crowd()
        self.backfill = Backfill(self.crowd)
        self.campaigns = Campaigns(self.crowd, ALPHABET, capacity=1 << 12) if with_campaigns else None
        self.stamps = Stamps("epoch", 0, (4,), 100)
        self.states: dict[str, bytes] = {}
        self.risks: dict[str, float] = {}
        self.told: list[str] = []
        self.offset = 0

    def uploads(self, *said: dict[str, object]) -> None:
        records = []
        for one in said:
            account = one["account"]
            assert isinstance(account, dict)
            body = {"type": "attempted", "id": f"e-{self.offset}", "upload_id": f"u-{self.offset}", **one}
            records.append(Record(self.offset, account["id"].encode(), json.dumps(body).encode(), (), _ms(NOW)))
            self.offset += 1
        effects = process(
            records, self.states, self.crowd, SHIPPED, Hashes(b"salt"), WEB, ("events", 0), "epoch", 0, self.stamps,
            backfill=self.backfill, campaigns=self.campaigns,
        )  # fmt: skip
        self.states.update(effects.states)
        self.risks.update((score.account, score.risk) for score, _ in effects.scores)
        self.told += [count.feature for count in effects.part(CampaignCounts).counts]


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1_000)


def said(account: str, minute: float, born_days: float = 0.02, **given: object) -> dict[str, object]:
    at = NOW - timedelta(hours=6) + timedelta(minutes=minute)
    created = at - timedelta(days=born_days)
    return {
        "at": at.isoformat(),
        "account": {"id": account, "created_at": created.isoformat()},
        "ip": f"10.{hash_of(account) % 250}.{hash_of(account) // 250 % 250}.1",
        "device": f"d-{account}",
        "media": {"kind": "image", "phash": picture(hash_of(account + str(minute)) % 1_900)},
        **given,
    }


def hash_of(text: str) -> int:
    from zlib import crc32

    return crc32(text.encode())


def old(platform: Platform, count: int) -> list[str]:
    """Established accounts: old, with uploads of their own, and clean."""
    names = [f"old-{n}" for n in range(count)]
    for account in names:
        platform.uploads(*(said(account, -600 + 90 * n, 400 + n / 16) for n in range(6)))
    return names


def test_a_wave_of_new_accounts_with_near_pictures_and_one_pitch_ends_above_one_half_within_five_uploads() -> None:
    wave, blind = Platform(), Platform(with_campaigns=False)
    for platform in (wave, blind):
        for upload in range(4):
            for n in range(40):
                media = {"kind": "image", "phash": picture(3, 4, seed=41 * n + upload)}
                links = [f"https://coin-double{n % 14}.example/r/{n}"]
                text = f"{PITCH} {n * 7919 % 1_000}!"
                minute = 60 * upload + 13.7 * n % 55
                platform.uploads(said(f"bot-{n}", minute, media=media, text=text, links=links))

    assert min(wave.risks.values()) > 0.5
    assert sum(risk > 0.5 for risk in blind.risks.values()) < 20


def test_the_first_accounts_of_a_wave_are_scored_like_the_last() -> None:
    platform = Platform()

    for n in range(32):
        media = {"kind": "image", "phash": picture(3, 4, seed=n)}
        platform.uploads(said(f"bot-{n}", 5 * n, media=media, text=f"{PITCH} {n}"))

    assert platform.risks["bot-0"] == pytest.approx(platform.risks["bot-31"], abs=0.05)


def test_no_campaign_alone_lifts_an_account_above_one_half() -> None:
    platform = Platform()

    for n in range(64):
        shown = {
            "media": {"kind": "image", "phash": picture(3)},
            "text": PITCH,
            "links": [f"https://party.example/sale/{n}"],
        }
        platform.uploads(said(f"new-{n}", n, 3, **shown))

    assert platform.campaigns is not None
    assert max(platform.risks.values()) <= 0.5


def test_a_picture_that_half_of_the_platform_passes_on_says_nothing_about_a_newcomer() -> None:
    with_, without = Platform(), Platform(with_campaigns=False)
    for platform in (with_, without):
        meme = {
            "media": {"kind": "image", "phash": picture(7)},
            "text": "me every single monday morning when the alarm rings",
        }
        for n, account in enumerate(old(platform, 20)):
            platform.uploads(said(account, 1 + n, 400, **meme))
        for n in range(15):
            platform.uploads(said(f"new-{n}", 30 + n, **meme))

    assert with_.risks["new-14"] == pytest.approx(without.risks["new-14"])


def test_an_article_that_established_accounts_link_to_says_nothing() -> None:
    with_, without = Platform(), Platform(with_campaigns=False)
    for platform in (with_, without):
        for n, account in enumerate(old(platform, 12)):
            platform.uploads(said(account, 1 + n, 400, links=["https://news.example/2026/11/the-flood"]))
        platform.uploads(said("journalist", 40, 2, links=["https://news.example/2026/11/the-flood"]))

    assert with_.risks["journalist"] == pytest.approx(without.risks["journalist"])


@pytest.mark.parametrize(
    "shown",
    [
        {"text": "New in our shop: hand-made candles of beeswax, order until friday"},
        {"media": {"kind": "image", "phash": picture(9)}},
        {"links": ["https://shop.example/candles/12"]},
    ],
    ids=["a shop's template captions", "an album of one picture", "a shop's own links"],
)
def test_one_account_that_repeats_itself_is_no_campaign(shown: dict[str, object]) -> None:
    with_, without = Platform(), Platform(with_campaigns=False)
    for platform in (with_, without):
        platform.uploads(*(said("shop", n, 90, **shown) for n in range(30)))

    assert with_.risks == without.risks
    assert with_.told == []


def test_a_class_on_one_tablet_with_pictures_of_its_own_is_no_campaign() -> None:
    platform = Platform()

    for n in range(25):
        platform.uploads(
            said(
                f"pupil-{n}",
                n,
                20,
                device="tablet",
                text=f"my drawing of a horse by number {n} of class three b"[: 20 + n],
            )
        )

    assert all(name[0] != "5" for name in platform.told)
    assert max(platform.risks.values()) < 0.5


def test_a_batch_that_is_repeated_counts_nobody_twice() -> None:
    once, twice = Platform(), Platform()
    batch = [said(f"bot-{n}", n, media={"kind": "image", "phash": picture(3, 4, seed=n)}, text=PITCH) for n in range(9)]
    once.uploads(*batch)
    twice.uploads(*batch)
    twice.states.clear()

    twice.offset = 0
    twice.uploads(*batch)

    assert twice.risks == once.risks
    assert sorted(set(twice.told)) == sorted(set(once.told))


def test_the_states_are_those_without_campaigns() -> None:
    with_, without = Platform(), Platform(with_campaigns=False)

    for platform in (with_, without):
        for n in range(20):
            platform.uploads(said(f"bot-{n % 9}", n, text=PITCH, links=["https://x.example/a/b"]))

    assert with_.states == without.states
