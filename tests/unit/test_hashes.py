"""Keyed hashes: the gate's own for networks and devices, and remembered within bounds."""

from __future__ import annotations

from zlib import crc32

import pytest

from gate.core.pseudonym import Pseudonyms
from streams.pipeline.hashes import Hashes
from tests.unit.test_chosen_ids import EQUAL, PLAIN

SALT = b"salt"


@pytest.mark.parametrize("ip", ["203.0.113.9", "2001:db8::1", "::ffff:203.0.113.9"])
def test_a_network_and_a_device_have_the_hash_that_the_gate_gives_them(ip: str) -> None:
    hashes, names = Hashes(SALT), Pseudonyms(SALT)

    assert f"{hashes.networks[ip]:016x}" == names.of_ip(ip)
    assert f"{hashes.devices['d-5']:016x}" == names.of_device("d-5")


def test_hashes_are_the_same_whether_they_are_remembered_or_not() -> None:
    small, large = Hashes(SALT, most=2), Hashes(SALT)
    devices = [f"d-{n % 5}" for n in range(40)]

    assert [small.devices[device] for device in devices] == [large.devices[device] for device in devices]
    assert len(small.devices) <= 2


def test_no_more_is_remembered_than_was_allowed() -> None:
    hashes = Hashes(SALT, most=100)

    for n in range(1_000):
        hashes.networks[f"203.0.{n % 250}.{n % 200}"]
        hashes.mark(f"e-{n}")

    assert len(hashes.networks) <= 100


def test_what_is_no_address_is_refused_each_time() -> None:
    hashes = Hashes(SALT)

    for _ in range(2):
        with pytest.raises(ValueError, match=r"value\.invalid"):
            hashes.networks["2001:zz::"]


def test_marks_are_four_bytes_under_the_salt() -> None:
    assert len(Hashes(SALT).mark("e-1")) == 4
    assert Hashes(SALT).mark("e-1") == Hashes(SALT).mark("e-1")
    assert len({Hashes(salt).mark(value) for salt in (b"", b"one", b"s" * 200) for value in ("e-1", "e-2")}) == 6


def test_hosts_and_contents_have_64_bits_under_the_salt_and_none_passes_for_another() -> None:
    values = [f"{name}.example" for name in (PLAIN, *EQUAL)]
    assert len({crc32(value.encode()) for value in values}) == 1

    numbers = {
        number
        for hashes in (Hashes(b"one"), Hashes(b"two"))
        for value in values
        for number in (hashes.hosts[value], hashes.content(value))
    }

    assert len(numbers) == 4 * len(values)
    assert max(numbers) > 1 << 60
