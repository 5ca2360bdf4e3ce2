"""Seeded events of a thousand accounts as raw records, one in a hundred of them unreadable in one of five ways."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

ACCOUNTS = 997
UNREADABLE = 0.01
_START = datetime(1970, 1, 1, tzinfo=UTC)

Record = tuple[bytes | None, bytes]


class Load:
    """A stream of events that its seed decides, but for their times."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._count = 0

    def records(self, count: int, now_ns: int) -> list[Record]:
        """The next `count` events, as if they happened now."""
        at = (_START + timedelta(microseconds=now_ns // 1_000)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return [self._record(at) for _ in range(max(0, count))]

    def _record(self, at: str) -> Record:
        self._count += 1
        number = self._count
        account = f"a-{self._chance.randrange(ACCOUNTS)}"
        if self._chance.random() < UNREADABLE:
            return self._unreadable(account, at)
        kind = self._chance.choices(("attempted", "completed", "removed", "reported"), weights=(70, 20, 5, 5))[0]
        body = f'"type":"{kind}","id":"e-{number}","at":"{at}","account":{{"id":"{account}"}},"upload_id":"u-{number}"'
        if kind == "attempted":
            body += (
                f',"media":{{"kind":"image","bytes":{self._chance.randrange(1, 1 << 22)},'
                f'"sha256":"{self._chance.getrandbits(20):064x}"}},"surface":"post",'
                f'"ip":"203.0.113.{self._chance.randrange(256)}","device":"d-{self._chance.randrange(5_000)}",'
                f'"country":"DE","text":"look at this {number % 50}"'
            )
        elif kind == "reported":
            body += f',"reporter":"r-{self._chance.randrange(300)}","reason":"spam"'
        return account.encode(), f"{{{body}}}".encode()

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
