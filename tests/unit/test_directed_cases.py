"""Directed cases for the shipped scorecard: honest lives that look like abuse from one side, and attackers that hide."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from streams.core.campaigns import Campaigns
from streams.core.crowd import Backfill, Crowd
from streams.core.events import encode
from streams.core.models.alphabet import build_alphabet
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.stamps import Stamps
from streams.pipeline.step import Record, process
from streams.traffic.simulate import Simulation, Truth

BEGAN = datetime(2026, 11, 2, 8, tzinfo=UTC)
CARD, WEB, ALPHABET = load_scorecard(None), load_web_links(), build_alphabet()
HOUR, DAY = 3_600.0, 86_400.0
_TEXT = (
    "sunset harbour train garden bread old town rain snow class cat asleep over lake with friends first "
    "day school walk river mum dad birthday cake game team won lost tired coffee morning bus late home "
    "again finally light window paper "
)
WORDS = _TEXT.split()

Uploads = Iterator[tuple[float, str, dict[str, Any]]]
"""The second of an upload, its account, and the rest of the event."""


class Platform:
    """One partition with its crowd and campaigns, and the highest, the first and the last risk of each account."""

    def __init__(self) -> None:
        self.highest: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.first: dict[str, float] = {}
        self._states: dict[str, bytes] = {}
        self._crowd = Crowd()
        self._campaigns = Campaigns(self._crowd, ALPHABET, capacity=1 << 12)
        self._backfill = Backfill(self._crowd)
        self._stamps = Stamps("e", 0, (4,), 100)
        self._offset = 0

    def after(self, uploads: Uploads, batch: int = 1) -> Platform:
        """Fold the uploads in the order of their times, so many at once."""
        records = [self._record(*upload) for upload in sorted(uploads, key=lambda upload: upload[0])]
        for start in range(0, len(records), batch):
            self.fold(records[start : start + batch])
        return self

    def _record(self, second: float, account: str, given: dict[str, Any]) -> Record:
        at = (BEGAN + timedelta(seconds=second)).isoformat()
        who = {"id": account} | ({"created_at": given.pop("created")} if "created" in given else {})
        event = {"type": "attempted", "id": f"e-{self._offset}", "at": at, "account": who} | given
        self._offset += 1
        return Record(self._offset - 1, account.encode(), json.dumps(event).encode(), (), 0)

    def fold(self, records: list[Record]) -> None:
        """Fold records of one batch."""
        effects = process(
            records, self._states, self._crowd, CARD, Hashes(b"salt"), WEB, ("events", 0), "e", 0, self._stamps,
            backfill=self._backfill, campaigns=self._campaigns,
        )  # fmt: skip
        assert not effects.dead
        self._states |= effects.states
        for score, _ in effects.scores:
            account = score.account
            self.highest[account] = max(self.highest.get(account, 0.0), score.risk)
            self.last[account] = score.risk
            self.first.setdefault(account, score.risk)


def created(days: float, second: float = 0.0) -> str:
    return (BEGAN + timedelta(seconds=second) - timedelta(days=days)).isoformat()


def photo(*name: object) -> dict[str, Any]:
    return {"kind": "image", "sha256": "-".join(map(str, name))}


def said(rng: random.Random) -> str:
    return " ".join(rng.sample(WORDS, rng.randint(2, 9)))


def gaps(rng: random.Random, count: int, start: float = 0.0) -> Iterator[float]:
    """Times as people have them: minutes within a visit, hours to days between."""
    second = start
    for _ in range(count):
        yield second
        second += rng.lognormvariate(4.5, 1.0) + 20 if rng.random() < 0.5 else HOUR + rng.expovariate(1 / (8 * HOUR))


def school_tablet(rng: random.Random) -> Uploads:
    """A class of 24 shares three tablets and an address; accounts are a year old, and in May ten children join."""
    for child in range(34):
        joined = 300.0 if child < 24 else 1.0
        for n, second in enumerate(gaps(rng, 7, 9 * DAY if child >= 24 else rng.uniform(0, 2 * DAY))):
            yield second, f"child-{child}", {
                "created": created(joined, 9 * DAY if child >= 24 else 0.0), "device": f"tablet-{child % 3}",
                "ip": "192.0.2.9", "media": photo("drawing", child, n), "text": said(rng),
            }  # fmt: skip


def album(rng: random.Random) -> Uploads:
    """Thirty photos of a holiday at once, by an account of two years."""
    for n in range(30):
        yield n * 0.03, "traveller", {
            "created": created(700), "device": "d-1", "ip": "192.0.2.20", "media": photo("beach", n), "media_group": "g-1",
            "text": said(rng) if n == 0 else None,
        }  # fmt: skip


def photographers_burst(rng: random.Random) -> Uploads:
    """A wedding: 60 photos one by one within 25 minutes, without captions, by an account of three years."""
    second = 0.0
    for n in range(60):
        second += rng.lognormvariate(3.0, 0.6)
        yield (
            second,
            "photographer",
            {"created": created(1_100), "device": "d-2", "ip": "192.0.2.30", "media": photo("w", n)},
        )


def shops_template(rng: random.Random) -> Uploads:
    """A shop of three years announces each product with one template and a link to its own page."""
    for n in range(40):
        yield n * 9 * HOUR + rng.uniform(0, 3 * HOUR), "shop", {
            "created": created(1_000), "device": "d-3", "ip": "192.0.2.40", "media": photo("product", n),
            "text": f"New in our shop: {rng.choice(WORDS)} {rng.choice(WORDS)}, only {rng.randint(5, 90)} euro",
            "links": [f"https://gardenshop.example/p/{n}"],
        }  # fmt: skip


def family(rng: random.Random) -> Uploads:
    """Five people behind one address share a tablet; two of them joined this week."""
    for person in range(5):
        for n, second in enumerate(gaps(rng, 8, rng.uniform(0, DAY))):
            yield second, f"family-{person}", {
                "created": created(3.0 if person < 2 else 400.0), "device": "tablet" if n % 3 == 0 else f"phone-{person}",
                "ip": "192.0.2.50", "media": photo("family", person, n), "text": said(rng),
            }  # fmt: skip


def journalist(rng: random.Random) -> Uploads:
    """Every upload links to the one newspaper that the journalist writes for, as twenty colleagues do."""
    for writer in range(20):
        for n, second in enumerate(gaps(rng, 12, rng.uniform(0, DAY))):
            yield second, f"journalist-{writer}", {
                "created": created(500), "device": f"laptop-{writer}", "ip": "192.0.2.60", "media": photo("press", writer, n),
                "text": said(rng), "links": [f"https://dailypaper.example/{writer}/{n}"],
            }  # fmt: skip


def night_shift(rng: random.Random) -> Uploads:
    """A nurse uploads from two to five at night, every night, from the ward's address that forty share."""
    for nurse in range(40):
        for night in range(7):
            for n in range(2):
                yield night * DAY + 18 * HOUR + rng.uniform(0, 3 * HOUR), f"nurse-{nurse}", {
                    "created": created(200), "device": f"phone-n{nurse}", "ip": "192.0.2.70",
                    "media": photo("night", nurse, night, n), "text": said(rng),
                }  # fmt: skip


def newcomer(rng: random.Random) -> Uploads:
    """The first day: a portrait at once, then a dozen photos in two visits."""
    times = [25.0, 70.0, 200.0, 260.0, 420.0, *gaps(rng, 9, 6 * HOUR)]
    for n, second in enumerate(times):
        yield second, "newcomer", {
            "created": created(0), "device": "d-4", "ip": "192.0.2.80", "media": photo("new", n),
            "text": said(rng) if n % 2 else None,
        }  # fmt: skip


def viral_picture(rng: random.Random) -> Uploads:
    """Two hundred people pass on one picture, each once, among pictures of their own."""
    for person in range(200):
        for n, second in enumerate(gaps(rng, 3, rng.uniform(0, DAY))):
            yield second, f"fan-{person}", {
                "created": created(rng.uniform(2, 900)), "device": f"phone-f{person}", "ip": f"198.51.{person}.1",
                "media": photo("viral") if n == 1 else photo("own", person, n), "text": said(rng),
            }  # fmt: skip


HONEST: tuple[tuple[Callable[[random.Random], Uploads], float], ...] = (
    (school_tablet, 0.5), (album, 0.2), (photographers_burst, 0.3), (shops_template, 0.5), (family, 0.3),
    (journalist, 0.2), (night_shift, 0.2), (newcomer, 0.3), (viral_picture, 0.3),
)  # fmt: skip


@pytest.mark.parametrize(("case", "below"), HONEST, ids=[case.__name__ for case, _ in HONEST])
@pytest.mark.parametrize("seed", range(2))
def test_an_honest_life_is_never_under_suspicion(case: Callable[..., Uploads], below: float, seed: int) -> None:
    platform = Platform().after(case(random.Random(seed)))

    worst = max(platform.highest, key=lambda account: platform.highest[account])
    assert platform.highest[worst] < below, worst


PITCHES = tuple(
    f"{first} {second}, and tell all your friends about it"
    for first in (
        "grab your bonus",
        "double your tokens",
        "claim the prize",
        "join us",
        "free coins",
        "airdrop",
        "win it",
    )
    for second in ("today only", "official link")
)


def hidden(rng: random.Random, text: str) -> str:
    """The text with a character that nobody sees in one of its words."""
    words = text.split()
    place = rng.randrange(len(words))
    words[place] = words[place][:1] + "\u200b" + words[place][1:]
    return " ".join(words)


def fifty_bots(rng: random.Random, **given: Any) -> Uploads:
    """Fifty bots of eight days with forty uploads each: captions and hosts that rotate, pictures that differ by a few
    bits, gaps that vary, each with a device and an address of its own."""
    hosts, wait, device = given.get("hosts", 14), given.get("wait", 0.0), given.get("device")
    for bot in range(50):
        second = wait + rng.uniform(0, HOUR)
        for n in range(40):
            second += rng.lognormvariate(6.0, 0.8)
            turn = (bot + n) % len(PITCHES)
            bits = 0xABCDEF0123456789 ^ 1 << rng.randrange(64) ^ 1 << rng.randrange(64) ^ (n % 13) * 0x1111111111111111
            yield second, f"bot-{bot}", {
                "created": created(given.get("days", 8.0)), "device": device or f"dev-{bot}", "ip": f"10.{bot}.0.1",
                "media": {"kind": "image", "sha256": f"{bot}-{n}", "phash": f"{bits:016x}"},
                "text": hidden(rng, PITCHES[turn]) if given.get("hides", True) else PITCHES[turn],
                "links": [given.get("link", "https://claim-bonus{}.top/x").format(turn % hosts)] if hosts else [],
            }  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"hides": False},
        {"hides": False, "hosts": 1},
        {"wait": 7 * DAY, "days": 8.0},
        {"wait": 7 * DAY, "device": "farm"},
        {"days": 0.1},
        {"hosts": 0},
        {"link": "https://photoshare{}.example/x"},
    ],
    ids=[
        "as told",
        "plain captions",
        "one host",
        "waits a week",
        "waits a week, one device",
        "hours old",
        "no links",
        "hosts that look like any",
    ],
)
def test_bots_that_hide_from_every_single_signal_end_under_suspicion_all_of_them(given: dict[str, Any]) -> None:
    platform = Platform().after(fifty_bots(random.Random(5), **given), batch=20)

    assert len(platform.last) == 50
    assert min(platform.last.values()) > 0.5


def test_the_tenth_child_on_a_shared_tablet_is_not_challenged_at_its_first_upload_and_a_farms_tenth_account_is() -> (
    None
):
    school = Platform().after(school_tablet(random.Random(3)))
    farm = Platform().after(
        (n * 20.0, f"farm-{n}", {"created": created(0, n * 20.0 - 9.0), "device": "rack", "ip": "192.0.2.99",
                                 "media": photo("farm", n)})
        for n in range(12)
    )  # fmt: skip

    assert max(risk for account, risk in school.first.items() if account >= "child-24") < 0.3
    assert farm.first["farm-10"] > 0.7


def simulated(seed: int) -> tuple[dict[str, Truth], dict[str, float], dict[str, float]]:
    """Who each account of a simulation is, its highest risk within its first five uploads, and that of all."""
    platform, truth, uploads = Platform(), dict[str, Truth](), Counter[str]()
    within_five: dict[str, float] = {}
    for upload in islice(Simulation(seed, int(BEGAN.timestamp()) * 1_000_000), 3_500):
        event = upload.event()
        truth[event.account.id] = upload.truth
        uploads[event.account.id] += 1
        platform.fold([Record(sum(uploads.values()), event.account.id.encode(), encode(event), (), 0)])
        within_five.update((account, platform.highest[account]) for account, count in uploads.items() if count <= 5)
    return truth, within_five, platform.highest


@pytest.mark.parametrize("seed", [3, 8])
def test_the_simulated_farm_and_scam_campaign_are_caught_within_five_uploads_and_people_are_left_alone(
    seed: int,
) -> None:
    truth, within_five, highest = simulated(seed)

    caught = {kind: [within_five[a] > 0.5 for a in truth if truth[a] is kind] for kind in (Truth.FARM, Truth.SCAM)}
    assert all(caught[Truth.FARM])
    assert sum(caught[Truth.SCAM]) >= 0.9 * len(caught[Truth.SCAM]) >= 9
    assert max(highest[account] for account in truth if truth[account] is Truth.PERSON) < 0.3
