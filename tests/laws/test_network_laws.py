"""Laws of addresses: the quick way to know an IPv4 address says what the standard library's thorough one says."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import example, given
from hypothesis import strategies as st

from gate.core.pseudonym import is_ipv4

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
