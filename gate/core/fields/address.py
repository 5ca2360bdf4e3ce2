"""Normalises IP addresses as proxies write them, and names the network under which an address is counted.

An IPv6 address that carries an IPv4 address counts as that IPv4 address. Otherwise all of NAT64 would be one network,
and a client would have a different address behind each proxy.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from gate.core.fields.reasons import Dropped, Unusable
from gate.core.fields.sentinels import UNKNOWN

LONGEST = 1_024
"""Longest text that is read as an address, in characters, with port, brackets and further hops."""
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("?)([^";]*)\1', re.IGNORECASE)
_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?")
_WITH_PORT = re.compile(r"([0-9.]{7,15}):[0-9]{1,5}")
_ZONE = re.compile(r"%[!-~]*")
_LOW_32 = 0xFFFF_FFFF
# the low 32 bits hold the IPv4 address: mapped, translated, compatible, NAT64 with its two prefixes
_CARRIERS = tuple(
    int(IPv6Network(network).network_address) >> 32
    for network in ("::ffff:0:0/96", "::ffff:0:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/96")
)


def address(text: str) -> str:
    """The address that `text` stands for, in its shortest form. Raises Unusable.

    Of a list of hops the first counts, which is the client's. Port, brackets, zone and a full-length prefix (/32, /128)
    are removed.
    """
    value = text.strip()
    if len(value) > LONGEST:
        raise Unusable(Dropped.TOO_LONG)
    first = value.partition(",")[0].strip()
    if "=" in first:
        forwarded = _FOR.search(first)
        first = forwarded[2].strip() if forwarded else first
    first = first.strip("\"'").strip()
    if first in UNKNOWN or first[:1] == "_":  # RFC 7239 lets a proxy write these to hide a client
        raise Unusable(Dropped.UNKNOWN)
    found = _parsed(_bare(first))
    if found.is_unspecified or int(found) == _LOW_32:
        raise Unusable(Dropped.UNKNOWN)
    if isinstance(found, IPv6Address) and (found.is_link_local or found.is_multicast):
        raise Unusable(Dropped.INVALID)
    return str(found)


def network(text: str) -> str:
    """The network by which an address is counted: an IPv4 address itself, the /64 of an IPv6 one. Raises Unusable."""
    found = _parsed(text)
    return str(found) if isinstance(found, IPv4Address) else f"{IPv6Address(int(found) >> 64 << 64)}/64"


def _bare(text: str) -> str:
    brackets = _BRACKETS.fullmatch(text)
    if brackets:
        text = brackets[1]
    elif port := _WITH_PORT.fullmatch(text):
        text = port[1]
    if ":" in text:
        return _ZONE.sub("", text, count=1).removesuffix("/128")
    return text.removesuffix("/32")


def _parsed(text: str) -> IPv4Address | IPv6Address:
    # Python accepts digits of other scripts, a router does not; a zone has a meaning on one host only
    if not text.isascii() or "%" in text:
        raise Unusable(Dropped.INVALID)
    try:
        found = ip_address(text)
    except ValueError:
        raise Unusable(Dropped.INVALID) from None
    return found if isinstance(found, IPv4Address) else _unwrapped(found)


def _unwrapped(found: IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address carries, else the IPv6 address."""
    number = int(found)
    if number >> 32 in _CARRIERS and number > 1:  # :: is no address and ::1 is this host
        return IPv4Address(number & _LOW_32)
    if found.sixtofour is not None:
        return found.sixtofour
    return found if found.teredo is None else found.teredo[1]
