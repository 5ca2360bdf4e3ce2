"""What a link looks like: its host, and how much the host's shape resembles those that scams are sent from.

Shape only, no list of hosts: most of next year's scam hosts are on no list of this year's, and blocking a registrable
domain would block everybody who shares it.
"""

from __future__ import annotations

import re

_LURES = re.compile(
    r"login|verif|secur|account|wallet|claim|bonus|gift|nitro|airdrop|free|support|update|confirm|promo|steam|signin"
)
_IP = re.compile(r"^\d{1,3}(?:\.\d{1,3}){3}$")
_CHEAP = (
    ".xyz",
    ".top",
    ".click",
    ".online",
    ".site",
    ".info",
    ".icu",
    ".ru.com",
    ".shop",
    ".live",
    ".cfd",
    ".sbs",
    ".gift",
)


def host(link: str) -> str:
    """The host of a link in lower case without port, `` where there is none."""
    rest = link.partition("://")[2] or link
    rest = rest.split("/", 1)[0].split("?", 1)[0].rpartition("@")[2]
    return rest.partition(":")[0].lower()[:253]


def suspicion(name: str) -> float:
    """How suspicious the shape of a host is, in [0, 1]: an address, digits and hyphens, lures, depth, cheap endings."""
    if _IP.match(name):
        return 1.0
    points = 0.0
    digits = sum(map(str.isdigit, name))
    points += 0.3 if digits >= 3 else 0.0
    points += 0.2 * min(name.count("-"), 2)
    points += 0.35 if _LURES.search(name) else 0.0
    points += 0.3 if name.endswith(_CHEAP) else 0.0
    points += 0.25 if name.count(".") >= 3 else 0.0
    points += 0.2 if len(name) > 30 else 0.0
    points += 0.3 if "xn--" in name else 0.0
    return min(1.0, points)
