"""Simulates uploads with ground truth: people, a bot farm, and a scam campaign.

Decides which account uploads what and when; `run` sends the uploads. The same seed gives the same uploads.

People have one device and one home address each, unique pictures, gaps from seconds to days, and sleep at night; some
share a campus address. Farm accounts are hours old, share one device, one address, one set of pictures and one link,
and upload at fixed intervals. Scammers have devices of their own and share the link and the wording.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import islice
from random import Random

from gate.core.account import Account
from gate.core.event import Attempted, Completed, Event, Removed, Reported
from gate.core.media import Media
from gate.core.request import CheckRequest
from streams.lab.rows import at, attempted

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
NIGHT_HOURS = 8
PEOPLE, FARM_ACCOUNTS, SCAM_ACCOUNTS = 200, 30, 10
ROWS_FROM_US = 1_750_000_000 * SECOND_US
"""The time of the first labelled row, fixed so that a seed always gives the same rows."""
FARM_EVERY_S = 20.0
FARM_FOR_US = 15 * 60 * SECOND_US
"""How long a farm uploads on each day. On the next day it has new accounts."""
SCAM_EVERY_S = 1200.0
SESSION_ENDS = 0.45
"""The probability that an upload ends a session. The next one then comes hours later, else seconds to minutes."""
CAMPUS_SHARE = 0.1
PERSON_UPLOADS_HOUR = 1.0
SHARES = (0.76, 0.16, 0.08)
"""The shares of people, farm and scammers in live uploads."""
WAVE_US = 20 * 60 * SECOND_US
"""The time after which live attackers replace their accounts by new ones."""

_PHRASES = (
    "morning light on the river", "first snow of the year", "our dog after the bath", "grandma's apple cake",
    "view from the office", "late train again", "new shelf, finally", "sunset behind the harbour",
    "match day with friends", "tomatoes are ripe", "rain since tuesday", "a walk in the old town",
    "coffee and a book", "bike repaired", "the cat found the box", "choir rehearsal tonight",
    "learning to bake bread", "museum with the kids", "autumn leaves everywhere", "moving day is over",
)  # fmt: skip
_PITCHES = (
    "Official giveaway: claim your {n} USDT bonus today, limited time https://{host}/c/{n}",
    "Claim your {n} USDT giveaway bonus now, official and limited https://{host}/c/{n}",
    "Limited official bonus! Claim {n} USDT from the giveaway today https://{host}/c/{n}",
)


class Truth(StrEnum):
    """The real sender of an upload."""

    PERSON = "person"
    FARM = "farm"
    SCAM = "scam"

    @property
    def abusive(self) -> bool:
        """True if the upload is abuse."""
        return self is not Truth.PERSON


REPORTED = {Truth.PERSON: 0.002, Truth.FARM: 0.03, Truth.SCAM: 0.15}
REMOVED = 0.3
REPORTERS = 10_000
NEW_REPORTERS = 0.05
"""The share of reports that come from accounts of the same day."""
LAST_OLD_REPORTER_US = 1_735_689_600_000_000
"""1 January 2025. An old reporter was made before it, at an hour of its own, and is the same age in all its reports."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One simulated upload: its time (µs), its check, and its real sender."""

    at_us: int
    request: CheckRequest
    truth: Truth

    def event(self, decision: str | None = None) -> Attempted:
        """The event that the upload service reports after the gate answered `decision`."""
        return attempted(self.request, self.at_us, decision)


def aftermath(upload: Upload, random: Random) -> list[tuple[int, Event]]:
    """Later events of an upload that was let in, as (time in µs, event): completion; reports or removals of scams."""
    account, id_ = Account(upload.request.account.id), upload.request.upload_id
    done_us = upload.at_us + random.randrange(SECOND_US, 4 * SECOND_US)
    found: list[tuple[int, Event]] = [
        (done_us, Completed(f"c-{id_}", at(done_us), account, id_, upload.request.media.bytes))
    ]
    if random.random() < REPORTED[upload.truth]:
        seen_us = done_us + random.randrange(5 * SECOND_US, 60 * SECOND_US)
        found.append((seen_us, _reported(f"r-{id_}", seen_us, account, id_, random)))
        if upload.truth.abusive and random.random() < REMOVED:
            gone_us = seen_us + random.randrange(5 * SECOND_US, 120 * SECOND_US)
            found.append((gone_us, Removed(f"x-{id_}", at(gone_us), account, id_, "staff", "spam")))
    return found


def _reported(id_: str, at_us: int, account: Account, upload_id: str, random: Random) -> Reported:
    """A report. Most reporters have been here for years; some were made at midnight of this very day, and count less."""
    number = random.randrange(REPORTERS)
    if random.random() < NEW_REPORTERS:
        day = at_us // DAY_US
        name, created_us = f"n-{day}-{number}", day * DAY_US
    else:
        name, created_us = f"p-{number}", LAST_OLD_REPORTER_US - number * HOUR_US
    return Reported(id_, at(at_us), account, upload_id, name, "spam", at(created_us))


class Simulation:
    """A fixed set of accounts from `start_us` on: an endless iterator of uploads in order of time."""

    def __init__(
        self, seed: int, start_us: int, people: int = PEOPLE, farm: int = FARM_ACCOUNTS, scammers: int = SCAM_ACCOUNTS
    ) -> None:
        self._random = Random(seed)
        self._makers = _Makers(seed, self._random)
        self._count = 0
        # (time, tie breaker, truth, number): the next upload of every account
        self._due: list[tuple[int, int, Truth, int]] = []
        for truth, size in ((Truth.PERSON, people), (Truth.FARM, farm), (Truth.SCAM, scammers)):
            for number in range(size):
                first_us = start_us + round(self._first_s(truth, number) * SECOND_US)
                heapq.heappush(self._due, (first_us, len(self._due), truth, number))
        self._start_us = start_us

    def __iter__(self) -> Iterator[Upload]:
        while self._due:
            at_us, order, truth, number = heapq.heappop(self._due)
            self._count += 1
            wave = (at_us - self._start_us) // DAY_US if truth is Truth.FARM else 0
            yield self._makers.upload(truth, number, wave, self._start_us + wave * DAY_US, at_us, self._count)
            heapq.heappush(self._due, (at_us + self._gap_us(truth, at_us), order, truth, number))

    def _first_s(self, truth: Truth, number: int) -> float:
        if truth is Truth.FARM:
            return HOUR_US / SECOND_US + number * 0.5
        return self._random.uniform(0, 12 * 3600)

    def _gap_us(self, truth: Truth, at_us: int) -> int:
        if truth is Truth.FARM:
            gap_us = round(FARM_EVERY_S * SECOND_US)
            over = (at_us - self._start_us) % DAY_US > HOUR_US + FARM_FOR_US
            return DAY_US - (FARM_FOR_US + gap_us) // gap_us * gap_us if over else gap_us
        if truth is Truth.SCAM:
            return round(self._random.uniform(0.5, 1.5) * SCAM_EVERY_S * SECOND_US)
        if self._random.random() > SESSION_ENDS:
            return round(min(self._random.lognormvariate(5.0, 1.0), 7200.0) * SECOND_US) + 20 * SECOND_US
        next_us = at_us + HOUR_US + round(self._random.expovariate(1 / (8 * 3600)) * SECOND_US)
        hour = next_us % DAY_US / HOUR_US
        if hour < NIGHT_HOURS:
            next_us += round((NIGHT_HOURS - hour) * HOUR_US * self._random.uniform(1.0, 1.4))
        return next_us - at_us


class LiveTraffic:
    """The same kinds of accounts at a given rate, for a running system: `next(at_us)` is the upload at that moment.

    There are so many people that `rate` uploads a second are not a burst of any of them.
    """

    def __init__(self, seed: int, start_us: int, rate: float) -> None:
        self._random = Random(seed)
        # each run has its own accounts: those of an earlier run may still be refused
        self._makers = _Makers(f"{seed}/{start_us}", self._random)
        self._people = max(PEOPLE, round(rate * SHARES[0] * 3600 / PERSON_UPLOADS_HOUR))
        self._sizes = {Truth.FARM: FARM_ACCOUNTS, Truth.SCAM: SCAM_ACCOUNTS}
        self._turns = {Truth.FARM: 0, Truth.SCAM: 0}
        self._start_us = start_us
        self._count = 0

    def next(self, at_us: int) -> Upload:
        """The upload at `at_us`. Times must not decrease from call to call."""
        self._count += 1
        truth = self._random.choices((Truth.PERSON, Truth.FARM, Truth.SCAM), SHARES)[0]
        wave = (at_us - self._start_us) // WAVE_US
        if truth is Truth.PERSON:
            number, wave = self._random.randrange(self._people), 0
        else:
            number = self._turns[truth] % self._sizes[truth]
            self._turns[truth] += 1
        return self._makers.upload(truth, number, wave, self._start_us + wave * WAVE_US, at_us, self._count)


class _Makers:
    """Makes the uploads of each kind of account. `wave` numbers the generations of attackers."""

    def __init__(self, seed: int | str, random: Random) -> None:
        self._seed = seed
        self._random = random

    def upload(self, truth: Truth, number: int, wave: int, wave_us: int, at_us: int, count: int) -> Upload:
        if truth is Truth.PERSON:
            request = self._person(number, wave_us, count)
        elif truth is Truth.FARM:
            request = self._farm(number, wave, wave_us, count)
        else:
            request = self._scam(number, wave, wave_us, count)
        return Upload(at_us, request, truth)

    def _fixed(self, *parts: object) -> Random:
        """The random numbers of an account's constant facts, from the seed and the account's number only."""
        return Random("/".join(map(str, (self._seed, *parts))))

    def _name(self, prefix: str, *parts: object) -> str:
        return prefix + sha256("/".join(map(str, (self._seed, *parts))).encode()).hexdigest()[:10]

    def _person(self, number: int, start_us: int, count: int) -> CheckRequest:
        facts = self._fixed("person", number)
        age_us = round(facts.expovariate(1 / 300) * DAY_US) + HOUR_US * 3
        campus = facts.random() < CAMPUS_SHARE
        home = f"10.{facts.randrange(256)}.{facts.randrange(256)}.{facts.randrange(1, 255)}"
        words = self._random.sample(_PHRASES, self._random.randrange(1, 3)) if self._random.random() < 0.6 else []
        return CheckRequest(
            upload_id=self._name("u-", "upload", start_us, count),
            account=Account(self._name("p-", "p", number), created_at=at(start_us - age_us), verified=age_us > DAY_US),
            media=self._media(self._name("", "picture", start_us, count)),
            surface=self._random.choice(("post", "story", "message")),
            ip=f"192.0.2.{number % 4 + 1}" if campus else home,
            device=self._name("d-", "device", number),
            country=facts.choice(("DE", "BR", "IN", "US", "NG", "JP")),
            text=", ".join(words) + f" {self._random.randrange(2, 400)}" if words else None,
        )

    def _farm(self, number: int, wave: int, wave_us: int, count: int) -> CheckRequest:
        link = f"https://cheap-followers-{wave}.example/join"
        return CheckRequest(
            upload_id=self._name("u-", "farm", wave_us, count),
            account=Account(self._name("f-", "f", wave, number), created_at=at(wave_us - number * SECOND_US)),
            media=self._media(self._name("", "farm picture", wave, count % 3)),
            surface="post",
            ip=f"198.51.100.{wave % 250 + 1}",
            device=self._name("d-", "farm device", wave),
            country="US",
            text="1000 followers in one day, join us",
            links=(link,),
        )

    def _scam(self, number: int, wave: int, wave_us: int, count: int) -> CheckRequest:
        facts = self._fixed("scam", wave, number)
        host = f"usdt-claim-{wave}.example"
        text = self._random.choice(_PITCHES).format(n=self._random.randrange(1, 9) * 500, host=host)
        return CheckRequest(
            upload_id=self._name("u-", "scam", wave_us, count),
            account=Account(self._name("s-", "s", wave, number), created_at=at(wave_us - facts.randrange(DAY_US) * 20)),
            media=self._media(self._name("", "scam picture", wave, self._random.randrange(5))),
            surface="post",
            ip=f"10.{facts.randrange(256)}.{facts.randrange(256)}.{facts.randrange(1, 255)}",
            device=self._name("d-", "scam device", wave, number),
            country=facts.choice(("US", "DE", "IN")),
            text=text,
            links=(text.rpartition(" ")[2],),
        )

    def _media(self, content: str) -> Media:
        size = 20_000 + int(content[:6], 16) % 3_000_000
        return Media(kind="image", bytes=size, sha256=sha256(content.encode()).hexdigest())


def labelled_rows(seed: int, count: int) -> Iterator[dict[str, object]]:
    """The first `count` uploads of a simulation as rows of a labelled stream, which `rows` reads."""
    for seq, upload in enumerate(islice(Simulation(seed, ROWS_FROM_US), count)):
        request = upload.request
        created = request.account.created_at
        yield {
            "set": "simulated", "split": "dev", "account_id": request.account.id,
            "account_created_at": None if created is None else round(created.timestamp()),
            "t": round(upload.at_us / SECOND_US, 3), "seq": seq, "device": request.device, "ip": request.ip,
            "content_key": request.media.sha256, "text": request.text, "urls": list(request.links),
            "label": int(upload.truth.abusive), "label_kind": f"simulated {upload.truth}",
        }  # fmt: skip
