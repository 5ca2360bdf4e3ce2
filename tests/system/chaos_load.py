"""Seeded events of a thousand accounts as raw records; some unreadable, and by choice late, hostile or delivered again."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.system.chaos_hostile import hostile

ACCOUNTS = 997
UNREADABLE = 0.01
LATEST_BY_S = 20 * 60
"""Late events are up to so many seconds behind; what is further than ten minutes feeds no burst."""
DELIVERED_AGAIN = 40_000
"""Of so many last events any may be delivered again; an account knows fewer of its own again."""
FARM_EVENTS = 300
"""After so many events other devices are shared."""
_START = datetime(1970, 1, 1, tzinfo=UTC)

Record = tuple[bytes | None, bytes]


@dataclass(frozen=True, slots=True)
class Shares:
    """Which share of the events is late, hostile, or was delivered before; each from 0 to 1."""

    late: float = 0.0
    hostile: float = 0.0
    duplicates: float = 0.0


PLAIN = Shares()


class Load:
    """A stream of events that its seed decides, but for their times."""

    def __init__(self, seed: int, shares: Shares = PLAIN) -> None:
        self._chance = random.Random(seed)
        self._shares = shares
        self._count = 0
        self._last: deque[Record] = deque(maxlen=DELIVERED_AGAIN)

    def records(self, count: int, now_ns: int) -> list[Record]:
        """The next `count` events, as if they happened now, but for the late ones."""
        now = _START + timedelta(microseconds=now_ns // 1_000)
        return [self._next(now) for _ in range(max(0, count))]

    def _next(self, now: datetime) -> Record:
        chance, shares = self._chance, self._shares
        if self._last and chance.random() < shares.duplicates:
            return self._last[-1 - int(len(self._last) * chance.random() ** 3)]  # mostly the last ones
        self._count += 1
        account = f"a-{chance.randrange(ACCOUNTS)}"
        if chance.random() < shares.late:
            now -= timedelta(seconds=chance.uniform(0, LATEST_BY_S))
        at = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if chance.random() < shares.hostile:
            record = hostile(chance, account, self._count, at)
        elif chance.random() < UNREADABLE:
            record = self._unreadable(account, at)
        else:
            record = self._readable(account, at)
        if shares.duplicates:
            self._last.append(record)
        return record

    def _readable(self, account: str, at: str) -> Record:
        number = self._count
        kind = self._chance.choices(("attempted", "completed", "removed", "reported"), weights=(70, 20, 5, 5))[0]
        body = f'"type":"{kind}","id":"e-{number}","at":"{at}","account":{{"id":"{account}"}},"upload_id":"u-{number}"'
        if kind == "attempted":
            body += (
                f',"media":{{"kind":"image","bytes":{self._chance.randrange(1, 1 << 22)},'
                f'"sha256":"{self._chance.getrandbits(20):064x}"}},"surface":"post",'
                f'"ip":"203.0.113.{self._chance.randrange(256)}","device":"{self._device()}",'
                f'"country":"DE","text":"look at this {number % 50}"'
            )
        elif kind == "reported":
            body += f',"reporter":"r-{self._chance.randrange(300)}","reason":"spam"'
        return account.encode(), f"{{{body}}}".encode()

    def _device(self) -> str:
        """One that anybody may have, or one of a farm that is shared by many for a moment, and then never again."""
        if self._chance.random() < 0.5:
            return f"d-{self._chance.randrange(5_000)}"
        return f"farm-{self._count // FARM_EVENTS}-{self._chance.randrange(2)}"

    def _unreadable(self, account: str, at: str) -> Record:
        key = account.encode()
        fine = f'"type":"completed","id":"e-{self._count}","account":{{"id":"{account}"}}'
        return self._chance.choice(
            [
                (key, b'{"type":"attempted",'),
                (key, f'{{{fine},"at":"yesterday"}}'.encode()),
                (key, f"{{{fine}}}".encode()),
                (key, f'{{{fine},"at":"2100-01-01T00:00:00Z"}}'.encode()),
                (b"somebody else", f'{{{fine},"at":"{at}"}}'.encode()),
            ]
        )
