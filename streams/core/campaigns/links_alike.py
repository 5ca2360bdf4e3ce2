"""The shape of a link: its host and its path, without what changes from one copy of a link to the next.

Digits, long words and everything after `?` or `#` vary between copies, so the shape leaves them out. Hosts stay whole,
because names below a hosting provider are different sites. A link without a path has no shape, because many people link to
the same host; the crowd's counts of link hosts cover that case.
"""

from __future__ import annotations

import re
from typing import Final

from streams.core.weblinks import host

MAX_LINKS: Final = 3
"""The most links of an upload that are looked at."""
MAX_SEGMENTS: Final = 4
LONG_WORD: Final = 20
_AFTER_HOST: Final = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?[/\\]{0,8}[^/\\?#]*([^?#]*)", re.IGNORECASE)
_SEGMENTS: Final = re.compile(r"[/\\]+")
_VARYING: Final = re.compile(r"\d[\da-f]*", re.IGNORECASE)


def link_shape(link: str) -> str:
    """The shape, such as `shop.example/sale/*`; empty for what is no link to a host, or has no path."""
    after = _AFTER_HOST.match(link.strip()[:2_048])
    segments = [segment for segment in _SEGMENTS.split(after[1] if after else "") if segment][:MAX_SEGMENTS]
    name = host(link) if segments else ""
    if not name:
        return ""
    return "/".join([name, *("*" if len(part) > LONG_WORD else _VARYING.sub("*", part.lower()) for part in segments)])
