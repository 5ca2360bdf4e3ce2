"""Keyed hashes that stand for IP addresses, devices and other personal data wherever they are kept."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from socket import AF_INET, inet_pton

from gate.core.fields import address


class Pseudonyms:
    """What stands for personal things under one salt: 16 hex digits that cannot be turned back without it.

    Two kinds never share one.
    """

    def __init__(self, salt: bytes) -> None:
        self._of_ip = _hasher(salt, b"ip")
        self._of_device = _hasher(salt, b"device")

    def of_ip(self, ip: str) -> str:
        """The pseudonym of the network under which an address is counted that `network` accepts."""
        hasher = self._of_ip.copy()
        hasher.update((network(ip) if ":" in ip else ip).encode())
        return hasher.hexdigest()

    def of_device(self, device: str) -> str:
        """The pseudonym of a device."""
        hasher = self._of_device.copy()
        hasher.update(device.encode())
        return hasher.hexdigest()


def _hasher(salt: bytes, kind: bytes) -> blake2b:
    """With its key taken in; copying it is cheaper than making one for each value.

    The key goes first and has a fixed length, which for this hash is as good as its keyed mode, and together with most
    values fits into one block, which costs half.
    """
    hasher = blake2b(digest_size=8, person=kind)
    hasher.update(blake2b(salt, digest_size=32).digest())
    return hasher


def is_ipv4(text: str) -> bool:
    """Whether it is an IPv4 address as it is usually written: four numbers without leading zeros."""
    if ":" in text:  # nearly all others have one; an exception would cost more
        return False
    try:
        inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


# the same few thousand networks come again and again, each is asked for when it is judged and when it is counted
@lru_cache(maxsize=1 << 14)
def network(ip: str) -> str:
    """The network an address is counted under: itself for IPv4, its /64 for IPv6.

    An IPv6 address that carries an IPv4 address counts as that one. Raises ValueError where `ip` is no address.
    """
    if is_ipv4(ip):  # what ip_address makes of most addresses, at a tenth of its price
        return ip
    return address.network(ip)
