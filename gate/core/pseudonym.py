"""Keyed hashes that replace IP addresses and devices wherever they are stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b

from gate.core.fields import address

_BYTES = frozenset(map(str, range(256)))
_GROUP = "[0-9A-Fa-f]{1,4}"
_IPV6 = re.compile(":".join([f"({_GROUP})"] * 4 + [_GROUP] * 4))
"""An address with all its groups written out, as most clients' addresses are; its first four groups are the network."""
_CARRYING = frozenset((0x64, 0x2002))
"""First groups of NAT64 and 6to4, whose addresses carry an IPv4 address."""
_TEREDO = (0x2001, 0)


def _uncached(function: Callable[[str], str]) -> Callable[[str], str]:
    return function


class Pseudonyms:
    """The pseudonyms of personal values under one salt: 16 hex digits that cannot be reversed without the salt.

    An address and a device never share a pseudonym. `cached` wraps `network`, which is slow for IPv6. The same few
    thousand IPv6 addresses recur, so a bounded `functools.lru_cache` pays for a busy process.
    """

    def __init__(self, salt: bytes, cached: Callable[[Callable[[str], str]], Callable[[str], str]] = _uncached) -> None:
        self._network = cached(network)
        # bound once, because each check calls both
        self._of_ip = _hasher(salt, b"ip").copy
        self._of_device = _hasher(salt, b"device").copy

    def of_ip(self, ip: str) -> str:
        """The pseudonym of an address's network. Raises ValueError as `network` does."""
        hasher = self._of_ip()
        hasher.update((self._network(ip) if ":" in ip else ip).encode())
        return hasher.hexdigest()

    def number_of_ip(self, ip: str) -> int:
        """`of_ip` as a number of 64 bits."""
        hasher = self._of_ip()
        hasher.update((self._network(ip) if ":" in ip else ip).encode())
        return int.from_bytes(hasher.digest(), "big")

    def number_of_device(self, device: str) -> int:
        """`of_device` as a number of 64 bits."""
        hasher = self._of_device()
        hasher.update(device.encode())
        return int.from_bytes(hasher.digest(), "big")

    def of_ips(self, ips: Sequence[str | None]) -> list[str | None]:
        """`of_ip` of each that is known, without a call for each. Raises ValueError as `network` does."""
        copied, network_of = self._of_ip, self._network
        found: list[str | None] = []
        for ip in ips:
            if ip is None:
                found.append(None)
                continue
            hasher = copied()
            hasher.update((network_of(ip) if ":" in ip else ip).encode())
            found.append(hasher.hexdigest())
        return found

    def of_devices(self, devices: Sequence[str | None]) -> list[str | None]:
        """`of_device` of each that is known."""
        copied = self._of_device
        found: list[str | None] = []
        for device in devices:
            if device is None:
                found.append(None)
                continue
            hasher = copied()
            hasher.update(device.encode())
            found.append(hasher.hexdigest())
        return found

    def of_device(self, device: str) -> str:
        """The pseudonym of a device."""
        hasher = self._of_device()
        hasher.update(device.encode())
        return hasher.hexdigest()


def salt_mark(salt: bytes) -> str:
    """Eight hex digits that identify a salt without revealing it."""
    return blake2b(blake2b(salt, digest_size=32).digest(), digest_size=4, person=b"salt").hexdigest()


def _hasher(salt: bytes, kind: bytes) -> blake2b:
    """A hasher that has hashed its key. Copying it for each value is cheaper than making a new one.

    The key comes first and has a fixed length, which for this hash is as secure as its keyed mode. The key and most
    values fit into one block, which halves the cost.
    """
    hasher = blake2b(digest_size=8, person=kind)
    hasher.update(blake2b(salt, digest_size=32).digest())
    return hasher


def is_ipv4(text: str) -> bool:
    """Whether `text` is an IPv4 address in its usual form: four numbers without leading zeros."""
    numbers = text.split(".", 4)
    return len(numbers) == 4 and _BYTES.issuperset(numbers)


def network(ip: str) -> str:
    """The network under which an address is counted: an IPv4 address itself, the /64 of an IPv6 address.

    An IPv6 address that carries an IPv4 address counts as that IPv4 address. Raises ValueError if `ip` is not an
    address.
    """
    if is_ipv4(ip):
        return ip
    written_out = _IPV6.fullmatch(ip)
    if written_out is not None and _is_own_network(groups := [int(group, 16) for group in written_out.groups()]):
        return _network_of(groups)
    return address.network(ip)


def _is_own_network(groups: list[int]) -> bool:
    """Whether the first four groups of an address show that it carries no IPv4 address."""
    first, second, *_ = groups
    return any(groups) and first not in _CARRYING and (first, second) != _TEREDO


def _network_of(groups: list[int]) -> str:
    """The /64 of an address from its first four groups, not all zero. It equals `ipaddress` in a fifth of the time."""
    while not groups[-1]:
        groups.pop()
    return ":".join([f"{group:x}" for group in groups]) + "::/64"
