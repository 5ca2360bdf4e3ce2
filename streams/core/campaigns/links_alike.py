"""What links have in common: their shape, or on a popular host the page that they lead to.

The shape is the host and the path, without what changes from one copy of a link to the next.

Digits, long words and everything after `?` or `#` vary between copies, so the shape leaves them out. Hosts stay whole,
because names below a hosting provider are different sites. A link without a path has no shape, because many people link to
the same host; the crowd's counts of link hosts cover that case.

On a popular host many people link to different pages of one shape, so there a link is told by its page: the whole path,
and where the path itself is popular, as `/watch`, each long value of the query. A value that is made up for each copy
of a link hides the others from nobody. Where a value of the query is a link itself, as in a redirect, that link's shape or
host counts.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from streams.core.campaigns.popular import WELL_KNOWN
from streams.core.weblinks import host, link_path

MAX_LINKS: Final = 3
"""The most links of an upload that are looked at."""
MAX_SEGMENTS: Final = 4
MAX_VALUES: Final = 4
"""The most values of a query that are looked at."""
MAX_GIVEN: Final = 16
"""The most values of a query in which a link is looked for."""
LEAST_VALUE: Final = 5
"""Characters from which a value may name a page."""
LONG_WORD: Final = 20
_AFTER_HOST: Final = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?[/\\]{0,8}[^/\\?#]*([^?#]*)", re.IGNORECASE)
_SEGMENTS: Final = re.compile(r"[/\\]+")
_QUERY: Final = re.compile(r"[^?#]*\?([^#]*)")
_ABOUT_THE_LINK: Final = re.compile(
    r"utm_|(?:ab_channel|app|fbclid|feature|from|gclid|hl|igsh|igshid|lang|list_src|locale|medium|pp|ref|ref_src|"
    r"ref_url|referrer|s|share|si|source|src|t|time|type|via)\Z",
    re.IGNORECASE,
)
"""Names of values that tell where a link was copied, and not where it leads."""
_IS_LINK: Final = re.compile(r"https?:[/\\\\]{1,8}", re.IGNORECASE)
_VARYING: Final = re.compile(r"\d[\da-f]*", re.IGNORECASE)


def link_shape(link: str) -> str:
    """The shape, such as `shop.example/sale/*`; empty for what is no link to a host, or has no path."""
    after = _AFTER_HOST.match(link.strip()[:2_048])
    segments = [segment for segment in _SEGMENTS.split(after[1] if after else "") if segment][:MAX_SEGMENTS]
    name = host(link) if segments else ""
    if not name:
        return ""
    return "/".join([name, *("*" if len(part) > LONG_WORD else _VARYING.sub("*", part.lower()) for part in segments)])


def pages(link: str, name: str, path_is_popular: bool) -> list[str]:
    """What the link to the popular host `name` has in common with others to the same page; nothing without a page."""
    path = link_path(link)
    page = f"{name}{path}"
    query = _QUERY.match(link[:2_048])
    given = query[1].split("&") if query else []
    aims = [aim for aim in map(_aim, given[:MAX_GIVEN]) if aim]
    if aims:
        return aims[:MAX_VALUES]
    if path_is_popular:
        values = [value for value in given if _names_a_page(value)]
        if values:
            return [f"{page}?{value}" for value in values[:MAX_VALUES]]
    return [page] if path else []


def _aim(value: str) -> str:
    """What copies of the link have in common that a value holds, as a redirect's does; empty if it holds none, or one to a
    well-known host, which is a page of its own."""
    aim = unquote(value.partition("=")[2])
    if not _IS_LINK.match(aim):
        return ""
    name = host(aim)
    return "" if name in WELL_KNOWN else link_shape(aim) or name


def _names_a_page(value: str) -> bool:
    key, _, content = value.partition("=")
    return len(content) >= LEAST_VALUE and not _ABOUT_THE_LINK.match(key)
