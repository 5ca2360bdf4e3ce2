"""Keyed hashes that stand for IP addresses and devices wherever they are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b

from gate.core.fields import address

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}")
_GROUP = "[0-9A-Fa-f]{1,4}"
_IPV6 = re.compile(":".join([f"({_GROUP})"] * 4 + [_GROUP] * 4))
"""An address with all its groups written out, as most clients' addresses are; its first four groups are the network."""
_CARRYING = frozenset((0x64, 0x2002))
"""First groups of NAT64 and 6to4, whose addresses carry an IPv4 address."""
_TEREDO = (0x2001, 0)


def _uncached(function: Callable[[str], str]) -> Callable[[str], str]:
    return function


class Pseudonyms:
    """What stands for personal values under one salt: 16 hex digits that cannot be turned back without it.

    An address and a device never share a pseudonym. `cached` wraps `network`, which is slow for IPv6, of which the same
    few thousand come again and again; pass a bounded `functools.lru_cache` where that pays.
    """

    def __init__(self, salt: bytes, cached: Callable[[Callable[[str], str]], Callable[[str], str]] = _uncached) -> None:
        self._network = cached(network)
        self._of_ip = _hasher(salt, b"ip")
        self._of_device = _hasher(salt, b"device")

    def of_ip(self, ip: str) -> str:
        """The pseudonym of the network that an address is counted under. Takes addresses that `network` accepts."""
        hasher = self._of_ip.copy()
        hasher.update((self._network(ip) if ":" in ip else ip).encode())
        return hasher.hexdigest()

    def of_device(self, device: str) -> str:
        """The pseudonym of a device."""
        hasher = self._of_device.copy()
        hasher.update(device.encode())
        return hasher.hexdigest()


def _hasher(salt: bytes, kind: bytes) -> blake2b:
    """A hasher that has taken in its key. Copying it for each value is cheaper than making one.

    The key goes first and has a fixed length, which for this hash is as good as its keyed mode; together with most
    values it fits into one block, which costs half.
    """
    hasher = blake2b(digest_size=8, person=kind)
    hasher.update(blake2b(salt, digest_size=32).digest())
    return hasher


def is_ipv4(text: str) -> bool:
    """Whether it is an IPv4 address as it is usually written: four numbers without leading zeros."""
    return _IPV4.fullmatch(text) is not None


def network(ip: str) -> str:
    """The network an address is counted under: itself for IPv4, its /64 for IPv6.

    An IPv6 address that carries an IPv4 address counts as that one. Raises ValueError where `ip` is no address.
    """
    if is_ipv4(ip):
        return ip
    written_out = _IPV6.fullmatch(ip)
    if written_out is not None and _is_own_network(groups := [int(group, 16) for group in written_out.groups()]):
        return _network_of(groups)
    return address.network(ip)


def _is_own_network(groups: list[int]) -> bool:
    """Whether the first four groups of an address say that it carries no IPv4 address."""
    first, second, *_ = groups
    return any(groups) and first not in _CARRYING and (first, second) != _TEREDO


def _network_of(groups: list[int]) -> str:
    """The /64 of an address by its first four groups, not all zero, spelt as `ipaddress` does at a fifth of the time."""
    while not groups[-1]:
        groups.pop()
    return ":".join([f"{group:x}" for group in groups]) + "::/64"
