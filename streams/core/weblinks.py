"""The hosts that a browser would contact for an upload's links and for the links inside its caption.

Links are read by the rules that browsers follow (WHATWG URL): backslashes are slashes, tabs inside vanish, numbers of
any radix are IPv4, other scripts become ASCII. A link that a browser does not open on a host, such as mailto:, has
none. The work is linear in the bytes, and the number of candidates is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import can_ada
from publicsuffixlist import PublicSuffixList

from gate.core.fields.text import without_ignorables

MAX_HOSTS = 20
"""Distinct hosts of one upload."""
MAX_CANDIDATES = 30
"""The most links of one upload that are read, those in the caption included."""
MAX_LINK_CHARS = 2_048
MAX_HEAD_CHARS, MAX_TAIL_CHARS = 1_536, 512
"""Of a longer caption only the beginning and the end are read, because people put links there."""
MAX_HOST_CHARS = 253
REMEMBERED = 1 << 10
"""Links whose host and path are remembered, as several parts of the pipeline read those of one batch; 2 MB at most."""
MAX_AUTHORITY = 300
"""Characters between the slashes before a host and the slash behind it, in a caption."""
UNLISTED_HOSTING = frozenset((
    "blogspot.com", "carrd.co", "fandom.com", "glitch.me", "godaddysites.com", "hashnode.dev", "itch.io",
    "jimdofree.com", "jimdosite.com", "livejournal.com", "mailchimpsites.com", "medium.com", "mybluehost.me",
    "mystrikingly.com", "neocities.org", "over-blog.com", "replit.app", "squarespace.com", "square.site",
    "substack.com", "tilda.ws", "tumblr.com", "ucoz.net", "ucraft.site", "webnode.page", "weebly.com",
    "weeblysite.com", "wixsite.com", "wixstudio.com", "wordpress.com", "yolasite.com",
))  # fmt: skip
"""Domains whose owners hand out names below them, and that the public suffix list may lack."""

_OPENED = frozenset(("http", "https", "ftp", "ws", "wss"))
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*+):(?![0-9]{1,5}+(?:[/\\?#]|\Z))", re.IGNORECASE)
_AROUND = "".join(map(chr, range(33)))  # controls and spaces, which a browser takes off both ends
_INSIDE = str.maketrans("", "", "\t\n\r")
_ENDS = re.compile(r"[/\\?#]")
_QUAD = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_NUMBER_LABEL = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)")

_DOTS = "。．｡"
_MARK = re.compile(r"\.(?=[^ ])|:(?=[^ ])|//|\\\\")
_AUTHORITY = rf"[^\s/\\?#<>\"'`,;|(){{}}]{{1,{MAX_AUTHORITY}}}+"
_REST = r"(?:[/\\?#][^\s<>\"'`|)\]}]*+)?+"
_IN_WORD = re.compile(
    rf"(?P<full>(?<![a-z])(?:https?|ftp):[/\\]*+{_AUTHORITY}){_REST}"
    rf"|(?<![\w:/\\])(?P<slashed>[/\\]{{2,8}}+{_AUTHORITY}){_REST}"
    r"|(?<![\w@.%/\\:-])(?P<bare>[^\W_][\w-]{0,62}+(?:\.[\w-]{1,63}+){1,8}+)(?![\w@-])(?P<path>" + _REST + ")",
    re.IGNORECASE,
)


class Link(NamedTuple):
    """A link as a browser reads it: its host, and its path without slashes at the end, `` for none."""

    host: str
    path: str


@lru_cache(maxsize=REMEMBERED)
def host(link: str) -> str:
    """The host that a browser contacts for a link: in ASCII and lower case, IPv6 in brackets, `` for none.

    A `www.` in front is taken off: it names the same place.
    """
    link = _trimmed(link)
    return _parsed(link) if link.startswith(("https://", "http://")) else _host(link)


@lru_cache(maxsize=REMEMBERED)
def link_path(link: str) -> str:
    """The path of a link as a browser sends it, without slashes at its end; `` for none."""
    text = _trimmed(link)
    scheme = _SCHEME.match(text)
    if scheme is None:
        text = f"https:{text}" if text[:1] in ("/", "\\") else f"https://{text}"
    try:
        found: str = can_ada.parse(text).pathname
    except (ValueError, UnicodeError):
        return ""
    return found.rstrip("/")


def _trimmed(link: str) -> str:
    """The link without what a browser leaves out of it, cut to MAX_LINK_CHARS."""
    if len(link) > MAX_LINK_CHARS:
        link = link[:MAX_LINK_CHARS]
    if link.isascii() and link.isprintable() and " " not in link:  # nearly all; it holds nothing that is left out
        return link
    return link.strip(_AROUND).translate(_INSIDE)


def _host(text: str) -> str:
    scheme = _SCHEME.match(text)
    if scheme is not None:
        return _parsed(text) if scheme[1].lower() in _OPENED else ""
    if text[:1] in ("/", "\\"):
        return _parsed(f"https:{text}") if text[1:2] in ("/", "\\") else ""
    authority = _ENDS.split(text, maxsplit=1)[0]
    if "@" in authority:  # an address of mail
        return ""
    found = _parsed(f"https://{text}")
    if "." not in found or (_QUAD.fullmatch(found) and not authority.startswith(found)):
        return ""
    return found


def _unwrapped(link: str) -> str:
    """The link without punctuation that a sentence or a list puts after it."""
    return link.rstrip(".,:!*_~" if "[" in link else ".,:!*_~]")


def _parsed(url: str) -> str:
    try:
        found: str = can_ada.parse(url).hostname
    except (ValueError, UnicodeError):
        return ""
    found = found.rstrip(".")
    if found.startswith("www.") and "." in found[4:]:
        found = found[4:]
    return found if len(found) <= MAX_HOST_CHARS else ""


def _marked_pieces(text: str) -> Iterator[str]:
    """The words that can hold a link: those with a mark inside of them, which few words of a caption have."""
    spaced = " ".join(text.split())
    end = 0
    for mark in _MARK.finditer(spaced):
        at = mark.start()
        if at >= end:
            end = spaced.find(" ", at)
            end = end if end >= 0 else len(spaced)
            yield spaced[spaced.rfind(" ", 0, at) + 1 : end]


def may_hold_link(text: str) -> bool:
    """False for a caption that cannot hold a link, as most cannot."""
    return "." in text or ":" in text or "/" in text or "\\" in text or not text.isascii()


def _in_caption(text: str, most: int) -> Iterator[re.Match[str]]:
    """Possible links in the beginning and the end of a caption, `most` at most."""
    if len(text) > MAX_HEAD_CHARS + MAX_TAIL_CHARS:
        text = f"{text[:MAX_HEAD_CHARS]} {text[-MAX_TAIL_CHARS:]}"
    if not text.isascii():
        text = without_ignorables(text)
        for dot in _DOTS:
            text = text.replace(dot, ".")
    for word in _marked_pieces(text):
        for found in _IN_WORD.finditer(word):
            if most <= 0:
                return
            most -= 1
            yield found


class WebLinks:
    """Reads links and captions and tells registrable domains by `suffixes`, the text of the public suffix list.

    Making one takes 50 ms, so the caller of the pipeline makes one and passes it in.
    """

    def __init__(self, suffixes: str) -> None:
        self._list = PublicSuffixList(source=suffixes.splitlines(), only_icann=False)
        private = suffixes.partition("===BEGIN PRIVATE DOMAINS===")[2]
        self._private = frozenset(line for line in private.split("\n") if line and not line.startswith("//"))

    def hosts_in(self, links: Sequence[str], text: str | None) -> tuple[str, ...]:
        """The distinct hosts of links and of the links inside a caption, in their order, at most MAX_HOSTS."""
        if not text or not may_hold_link(text):
            text = None
            if not links:
                return ()
        looked_at = links[:MAX_CANDIDATES]
        hosts = dict.fromkeys(map(host, looked_at))
        if text:
            hosts.update(dict.fromkeys(map(self._named, _in_caption(text, MAX_CANDIDATES - len(looked_at)))))
        hosts.pop("", None)
        return tuple(hosts)[:MAX_HOSTS]

    def links_in(self, links: Sequence[str], text: str | None) -> tuple[Link, ...]:
        """The distinct links, with those inside a caption, whose hosts `hosts_in` gives, at most MAX_CANDIDATES."""
        looked_at = links[:MAX_CANDIDATES]
        read = dict.fromkeys(Link(name, link_path(link)) for link in looked_at if (name := host(link)))
        if text and may_hold_link(text):
            for found in _in_caption(text, MAX_CANDIDATES - len(looked_at)):
                if name := self._named(found):
                    read[Link(name, link_path(_unwrapped(found[0])))] = None
        return tuple(read)

    def registrable(self, name: str) -> str:
        """The domain that somebody registered, or was given below a private suffix such as github.io; an address is
        its own, and so is a name that is a suffix itself.
        """
        if name.startswith("[") or _QUAD.fullmatch(name):
            return name
        return self._list.privatesuffix(name) or name

    def own_name(self, name: str) -> tuple[str, bool]:
        """The part of a host that its user chose, and whether a hosting provider handed it out.

        `birds.github.io` is `birds` on shared hosting; `birds.example` is all its owner's own.
        """
        if name.startswith("[") or _QUAD.fullmatch(name):
            return name, False
        for provider in (self._list.publicsuffix(name) or "", ".".join(name.split(".")[-2:])):
            wild = f"*.{provider.partition('.')[2]}"
            if provider in self._private or provider in UNLISTED_HOSTING or wild in self._private:
                own = name[: -len(provider) - 1]
                return (own, True) if own else (name, False)
        return name, False

    def _named(self, found: re.Match[str]) -> str:
        if full := found["full"]:
            return _parsed(_unwrapped(full))
        if slashed := found["slashed"]:
            name = _parsed(f"https:{_unwrapped(slashed)}")
            return name if "." in name else ""
        return self._bare(found["bare"], found["path"])

    def _bare(self, given: str, path: str) -> str:
        """A name without a scheme is a link if its ending is on the list, or if a path follows it."""
        name = _parsed(f"https://{given}")
        ending = name.rpartition(".")[2]
        if not ending or ending.isdigit() or _NUMBER_LABEL.fullmatch(ending):
            return ""
        if (
            path[:1] in ("/", "\\")
            or given[:4].lower() == "www."
            or self._list.publicsuffix(name, accept_unknown=False)
        ):
            return name
        return ""
