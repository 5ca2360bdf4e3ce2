"""Keyed hashes that stand for IP addresses and devices wherever they are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b

from gate.core.fields import address

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}")


def _uncached(function: Callable[[str], str]) -> Callable[[str], str]:
    return function


class Pseudonyms:
    """What stands for personal values under one salt: 16 hex digits that cannot be turned back without it.

    An address and a device never share a pseudonym. `cached` wraps the function for addresses, of which the same few
    thousand come again and again; pass a bounded `functools.lru_cache` where that pays.
    """

    of_ip: Callable[[str], str]
    """The pseudonym of the network that an address is counted under. Takes addresses that `network` accepts."""

    def __init__(self, salt: bytes, cached: Callable[[Callable[[str], str]], Callable[[str], str]] = _uncached) -> None:
        self._ip_hasher = _hasher(salt, b"ip")
        self._device_hasher = _hasher(salt, b"device")
        self.of_ip = cached(self._of_ip)

    def _of_ip(self, ip: str) -> str:
        hasher = self._ip_hasher.copy()
        hasher.update((network(ip) if ":" in ip else ip).encode())
        return hasher.hexdigest()

    def of_device(self, device: str) -> str:
        """The pseudonym of a device."""
        hasher = self._device_hasher.copy()
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
    if is_ipv4(ip):  # the usual case, ten times as fast as ip_address
        return ip
    return address.network(ip)
