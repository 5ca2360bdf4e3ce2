"""What a caption looks like, by shape alone: its template, its format, how much it shouts. No words are learnt here."""

from __future__ import annotations

import re
from zlib import crc32

MAX_CHARS = 500
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_VARYING = re.compile(r"[@#]\w+|\d+")
_MONEY = re.compile(r"[$£€₿%]|\d{4,}|!!|[*=~_]{2,}")
_SPACED = re.compile(r"\w+")


def template(text: str) -> int:
    """A 32-bit hash of the caption with links, names, tags and numbers taken out; at most its first eight words."""
    plain = _VARYING.sub("#", _URL.sub("~", text[:MAX_CHARS])).lower()
    return crc32(" ".join(plain.split()[:8]).encode())


def layout(text: str) -> int:
    """One of 16 layouts: with link, with mention, with tag, short or long."""
    return (
        (8 if "://" in text or "www." in text else 0)
        | (4 if "@" in text else 0)
        | (2 if "#" in text else 0)
        | (1 if len(text) > 70 else 0)
    )


def spamminess(text: str) -> float:
    """How much a caption looks like an advertisement, in [0, 1]: money, long numbers, capitals, shouting, links."""
    text = text[:MAX_CHARS]
    letters = sum(map(str.isalpha, text))
    if letters == 0:
        return 0.3 if text.strip() else 0.0
    upper = sum(map(str.isupper, text)) / letters
    marks = len(_MONEY.findall(text))
    links = len(_URL.findall(text))
    words = len(_SPACED.findall(text))
    points = 0.35 * min(marks, 3) + 0.5 * min(links, 2) + (0.5 if upper > 0.3 and words > 3 else 0.0)
    points += 0.25 if words > 20 else 0.0
    return min(1.0, points / 1.6)
