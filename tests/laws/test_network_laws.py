"""Laws of addresses: the quick ways to read one say what the standard library's thorough ones say."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from hypothesis import example, given
from hypothesis import strategies as st

from gate.core.pseudonym import is_ipv4, network

addresses = st.ip_addresses().map(str)
number = st.sampled_from(
    ["0", "00", "1", "01", "9", "10", "255", "256", "1000", "", "-1", "+1", " 1", "1 ", "٣", "\x001", "a"]
)
nearly = st.lists(number, min_size=1, max_size=6).map(".".join)


@given(addresses | nearly | st.text())
@example("1.2.3.4\n")
@example("0x1.2.3.4")
@example("1.2.3")
@example("::ffff:1.2.3.4")
@example("\ud800")
def test_an_ipv4_address_is_one_to_the_standard_library_as_well(text: str) -> None:
    try:
        IPv4Address(text)
    except ValueError:
        assert not is_ipv4(text)
    else:
        assert is_ipv4(text)


groups = st.lists(
    st.sampled_from(["0", "00", "0000", "1", "01", "ffff", "FFFF", "aBc", "2001", "12345", "g", ""]),
    min_size=7,
    max_size=9,
)
written_out = groups.map(":".join) | st.builds(
    lambda values: ":".join(f"{value:x}" for value in values),
    st.lists(
        st.sampled_from([0, 0, 1, 0x64, 0xFF9B, 0x2001, 0x2002, 0xFFFF]) | st.integers(0, 0xFFFF),
        min_size=8,
        max_size=8,
    ),
)


CARRIERS = [IPv6Network(prefix) for prefix in ("::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/96", "::/96")]


def carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address in an IPv6 one; `::` and `::1` carry none."""
    if int(address) > 1 and any(address in prefix for prefix in CARRIERS):
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def thoroughly(ip: str) -> str | None:
    """The network of an address by the standard library alone, None where it is no address."""
    try:
        address = ip_address(ip)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return str(address)
    inner = carried(address)
    return str(inner) if inner is not None else f"{IPv6Address(int(address) >> 64 << 64)}/64"


@given(addresses | written_out | nearly | st.text())
@example("0:0:0:0:0:ffff:0102:0304")
@example("0:0:0:0:1:2:3:4")
@example("0:0:0:1:0:0:0:1")
@example("1:0:0:0:1:0:0:0")
@example("::ffff:1.2.3.4")
@example("2001:db8::1")
@example("fe80::1%eth0")
@example("64:ff9b:0:0:0:0:102:304")
@example("64:ff9b:1:0:0:0:102:304")
@example("2002:102:304:0:0:0:0:1")
@example("2001:0:1:2:3:4:5:6")
@example("2001:1:1:2:3:4:5:6")
@example("0:0:0:0:ffff:0:102:304")
@example("1:2:3:4:5:6:7:8\n")
def test_the_network_of_an_address_is_what_the_standard_library_makes_of_it(text: str) -> None:
    try:
        found = network(text)
    except ValueError:
        found = None

    assert found == (None if "%" in text or len(text) > 64 else thoroughly(text))
