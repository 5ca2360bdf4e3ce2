"""People who upload, as bytes: the events of a stream and the checks of a gate. Seeded; the same numbers, the same bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256

WORDS = (
    "sunset harbour market train garden bread old town morning rain first snow class reunion cat asleep over the".split()  # noqa: SIM905
)
COUNTRIES = ("DE", "FR", "PL", "BR", "IN", "US", "NG", "ID")
KINDS = ("image", "image", "image", "video", "audio")
SPACING = timedelta(milliseconds=1)


def upload(number: int, account: int, rng: random.Random) -> dict[str, object]:
    """The fields of one upload that an event and a check share; about 350 bytes as JSON."""
    said: dict[str, object] = {
        "account": {
            "id": f"a-{account:06d}",
            "class": "regular",
            "created_at": f"2025-0{1 + account % 9}-20T08:00:00Z",
        },
        "upload_id": f"u-{number:08d}",
        "media": {
            "kind": rng.choice(KINDS),
            "bytes": rng.randrange(20_000, 4_000_000),
            "sha256": sha256(number.to_bytes(8, "big")).hexdigest(),
        },
        "surface": "post",
        "ip": f"{11 + account % 170}.{account >> 16 & 255}.{account >> 8 & 255}.{account & 255}",
        "device": f"d-{account:06d}",
        "country": COUNTRIES[account % len(COUNTRIES)],
        "text": " ".join(rng.choices(WORDS, k=4)),
    }
    if rng.random() < 0.05:
        said["links"] = [f"https://site-{rng.randrange(500)}.example/p/{number}"]
    return said


def events(count: int, accounts: int, seed: int, first: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """`count` attempted uploads by accounts drawn evenly, numbered from `first`, as (key, value); the last is now."""
    rng = random.Random(f"{seed}/{first}")
    began = datetime.now(UTC) - SPACING * count
    for number in range(first, first + count):
        yield event(number, rng.randrange(accounts), rng, began + SPACING * (number - first))


def event(number: int, account: int, rng: random.Random, at: datetime) -> tuple[bytes, bytes]:
    """One attempted upload as (key, value)."""
    said = {"type": "attempted", "id": f"e-{number:08d}", "at": at.isoformat().replace("+00:00", "Z")}
    value = json.dumps({**said, **upload(number, account, rng)}, separators=(",", ":")).encode()
    return f"a-{account:06d}".encode(), value


def checks(count: int, seed: int, first: int = 0) -> list[bytes]:
    """`count` checks, each of an upload and an account of its own, numbered from `first`."""
    rng = random.Random(f"{seed}/{first}")
    return [
        json.dumps(upload(number, number, rng), separators=(",", ":")).encode()
        for number in range(first, first + count)
    ]
