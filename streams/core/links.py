"""Rates the shape of a host: how much it resembles the hosts of scams.

It uses no list of bad hosts: most of next year's scam hosts are on no list of today, and blocking a registrable domain
would block every account that links to it. The lists here hold public knowledge that ages slowly: cheap top-level
domains, hosts with free names, and names that are often imitated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from streams.core.confusables import skeleton

_IP = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_LURES = re.compile(
    r"login|logon|signin|verif|secur|account|wallet|claim|bonus|gift|airdrop|free|support|update|confirm|promo|"
    r"reward|giveaway|unlock|recover|nitro|invoice|track|helpdesk"
)
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{5,}")
_MIXED = re.compile(r"[a-z]\d+[a-z]")
_CHEAP = frozenset((
    "xyz", "top", "click", "online", "site", "icu", "shop", "live", "cfd", "sbs", "gift", "gifts", "vip", "cc", "pw",
    "tk", "ml", "ga", "cf", "gq", "cyou", "bond", "lol", "fun", "space", "skin", "monster", "rest", "buzz", "link",
    "help", "info", "store", "website", "club", "win", "work", "quest", "beauty", "hair", "autos", "mom", "pics",
    "lat", "qpon", "xin",
))  # fmt: skip
_HOSTING = (
    ".app", ".dev", ".io", ".me", ".weebly.com", ".weeblysite.com", ".godaddysites.com", ".wixsite.com",
    ".wixstudio.com", ".duckdns.org", ".firebaseapp.com", ".herokuapp.com", ".amplifyapp.com", ".azurewebsites.net",
    ".surge.sh", ".square.site", ".trycloudflare.com", ".web.id", ".my.id", ".biz.id", ".eu.org", ".ru.com", ".sa.com",
    ".za.com", ".us.kg", ".000webhostapp.com", ".blogspot.com", ".sites.google.com", ".dweb.link",
)  # fmt: skip
_SHORTENERS = frozenset((
    "bit.ly", "tinyurl.com", "rebrand.ly", "is.gd", "v.gd", "cutt.ly", "t.ly", "rb.gy", "shorturl.at", "tiny.cc",
    "shorte.st", "qrco.de", "s.id",
))  # fmt: skip
_IMITATED = (
    "discord", "steam", "steamcommunity", "roblox", "telegram", "whatsapp", "instagram", "facebook", "twitch", "paypal",
    "metamask", "coinbase", "binance", "trustwallet", "opensea", "uniswap", "ledger", "trezor", "netflix", "amazon",
    "apple", "icloud", "microsoft", "office", "outlook", "google", "spotify", "youtube",
)  # fmt: skip
_GENUINE = frozenset((
    "discordapp.com", "discordapp.net", "steampowered.com", "steamstatic.com", "paypalobjects.com", "facebookmail.com",
    "googleapis.com", "googleusercontent.com", "googleblog.com", "microsoftonline.com", "office365.com", "appleid.com",
    "amazonaws.com", "youtubekids.com", "cdninstagram.com",
))  # fmt: skip
"""Names that look like an imitation and are not."""
_WORDS = ("steam", "apple", "office", "outlook", "amazon", "ledger")
"""Imitated names that are ordinary words too: `pineapple`, `steamboat` and `officer` imitate nobody."""
_ALIKE = str.maketrans("0135478|", "oleastbl")
_NAMES = re.compile("|".join(name for name in _IMITATED if name not in _WORDS))
_WORD_NAMES = re.compile("|".join(_WORDS))
_SHORT = {
    first: tuple(name for name in _IMITATED if name[0] == first and len(name) <= 7)
    for first in sorted({name[0] for name in _IMITATED})
}
"""The short names by their first letter, which hardly anybody misspells."""
_LONG = tuple(name for name in _IMITATED if len(name) > 7)
"""Long names are misspelt in several places at once; in a short one several mistakes make another word."""
_SIZES = tuple((len(name), len({name[i : i + 2] for i in range(len(name) - 1)})) for name in _LONG)
_WITH_PAIR = {
    pair: tuple(number for number, name in enumerate(_LONG) if pair in name)
    for pair in sorted({name[i : i + 2] for name in _LONG for i in range(len(name) - 1)})
}
_FEWEST_PAIRS = min(pairs for _, pairs in _SIZES)
_LONGEST_NEAR = max(map(len, _LONG)) + 3
_DOUBLED = re.compile(r"(.)\1+")
_LEAST_MISSPELT = 6
"""Letters of a name from which one wrong letter still shows what is meant: `team` and `apply` are words."""
SHOWN_CHARS = 48
"""Characters of each end of a long host that are looked at."""
_CLOSE = 0.6
"""Share of pairs of letters in common from which two names look alike."""


@lru_cache(maxsize=1 << 14)
def suspicion(name: str) -> float:
    """How suspicious the shape of a host is, in [0, 1]: an address, digits and hyphens, lures, lookalikes, endings."""
    if not name:
        return 0.0
    if _IP.fullmatch(name):
        return 1.0
    labels = name.removeprefix("www.").split(".")
    own = _shown(".".join(labels[:-1]))
    points = 0.3 if _LURES.search(own) else 0.0
    points += 0.3 if labels[-1] in _CHEAP else 0.0
    points += 0.4 if len(labels) > 2 and name.endswith(_HOSTING) else 0.0
    points += 0.2 if name in _SHORTENERS else 0.0
    points += 0.4 if not _is_genuine(labels) and _imitates(own.split(".")) else 0.0
    points += 0.15 * min(own.count("-"), 2)
    points += 0.25 if sum(map(str.isdigit, own)) >= 3 else 0.0
    points += 0.2 if _MIXED.search(own) else 0.0
    points += 0.2 if _CONSONANTS.search(own) else 0.0
    points += 0.2 if len(labels) > 4 else 0.0
    points += 0.15 if max(map(len, labels)) > 16 else 0.0
    points += 0.3 if "xn--" in name else 0.0
    return min(1.0, points)


def _is_genuine(labels: list[str]) -> bool:
    return ".".join(labels[-2:]) in _GENUINE


def _shown(own: str) -> str:
    """The parts of a long name that are judged: its beginning and its end, which readers see."""
    return own if len(own) <= 2 * SHOWN_CHARS else f"{own[:SHOWN_CHARS]}.{own[-SHOWN_CHARS:]}"


def _imitates(labels: Sequence[str]) -> bool:
    """A part that is nearly a much imitated name, or such a name with something beside it; never the name itself."""
    for label in labels:
        if label in _IMITATED:
            continue
        looks = skeleton(label) if label.startswith("xn--") or not label.isascii() else label
        if looks is not label and looks in _IMITATED:
            return True
        for part in looks.translate(_ALIKE).replace("vv", "w").replace("rn", "m").split("-"):
            if len(part) < 5:
                continue
            if _NAMES.search(part) or _lures_by(part, label):
                return True
            if part in _IMITATED:  # written with digits that look like letters, or with hyphens beside it
                if part not in label:
                    return True
                continue
            if len(part) <= _LONGEST_NEAR and (_misspells_short(part) or _nearly(part)):
                return True
    return False


def _lures_by(part: str, label: str) -> bool:
    """Whether a name that is an ordinary word begins or ends a part, and the label has a lure or a digit beside it."""
    found = _WORD_NAMES.search(part)
    if found is None or (found.start() and found.end() < len(part)):
        return False
    return bool(_LURES.search(label)) or any(map(str.isdigit, label))


def _misspells_short(part: str) -> bool:
    """Whether a part is a short name with letters doubled, or, for one of six letters and more, with one mistake."""
    size = len(part)
    for name in _SHORT.get(part[0], ()):
        more = size - len(name)
        if -1 <= more <= 1 and _one_mistake(part, name):
            return True
        if 2 <= more <= 3 and _DOUBLED.sub(r"\1", part) == _DOUBLED.sub(r"\1", name):
            return True
    return False


def _one_mistake(part: str, name: str) -> bool:
    """Whether two letters are exchanged, or one is wrong, lacking or too many; of a word's letters not the last."""
    size = len(name)
    at = 1
    while at < size and part[at : at + 1] == name[at]:
        at += 1
    if part[at + (len(part) >= size) :] == name[at + (len(part) <= size) :]:
        is_doubled = len(part) > size and part[at] == part[at - 1]
        return is_doubled or (size >= _LEAST_MISSPELT and (name not in _WORDS or part[-1] == name[-1]))
    is_exchanged = part[at : at + 2] == name[at : at + 2][::-1] and part[at + 2 :] == name[at + 2 :]
    return is_exchanged and size >= _LEAST_MISSPELT


def _nearly(part: str) -> bool:
    """Whether most neighbouring pairs of letters are those of one of the long names."""
    size = len(part)
    mine = {part[i : i + 2] for i in range(size - 1)}
    theirs = [_WITH_PAIR[pair] for pair in mine if pair in _WITH_PAIR]
    if 2 * len(theirs) < _CLOSE * (len(mine) + _FEWEST_PAIRS):  # too few for any of the names
        return False
    shared: dict[int, int] = {}
    for numbers in theirs:
        for number in numbers:
            shared[number] = shared.get(number, 0) + 1
    for number, common in shared.items():
        length, pairs = _SIZES[number]
        if -1 <= size - length <= 3 and 2 * common >= _CLOSE * (len(mine) + pairs):
            return True
    return False
