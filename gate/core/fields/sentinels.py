"""Placeholders that senders write for an unknown value. A placeholder must not make strangers share a device."""

from __future__ import annotations

WORDS = frozenset((
    "", "unknown", "null", "none", "nil", "undefined", "nan", "(null)", "<null>", "(none)", "[object object]",
    "(unknown)", "not set", "(not set)", "not available", "unavailable", "unspecified",
))  # fmt: skip
"""Values that are not an id of an account, an upload or an event."""
SIGNS = frozenset(("n/a", "na", "-", "--", "?", "0", "-1", ".", "{}", "[]", '""', "''", "false"))
"""Further values that mean unknown in an optional field. The account `0` may exist."""
DEVICES = frozenset(
    ("9774d56d682e549c", "02:00:00:00:00:00", "ffffffff-ffff-ffff-ffff-ffffffffffff", "ff:ff:ff:ff:ff:ff")
)
"""Ids that many devices share: the id of a bug in old Android releases, hidden addresses, the largest UUID."""
HASHES = frozenset((
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "d41d8cd98f00b204e9800998ecf8427e", *("f" * length for length in (16, 32, 40, 64)),
))  # fmt: skip
"""SHA-256, SHA-1 and MD5 of empty content, and hashes of one bits only."""
ZEROS = frozenset((
    *("0" * length for length in range(1, 129)), "00000000-0000-0000-0000-000000000000",
    "{00000000-0000-0000-0000-000000000000}", "00:00:00:00:00:00", "00-00-00-00-00-00", "0-0-0-0-0", "0.0",
))  # fmt: skip
"""Ids and hashes of the usual lengths that consist of zeros only."""
COUNTRIES = frozenset(("XX", "ZZ"))


ADDRESSES = frozenset(("0.0.0.0", "255.255.255.255"))


def _spellings(values: frozenset[str]) -> frozenset[str]:
    """The values in lower case, in capitals, and with an initial capital, as programs write them."""
    cases = (str.lower, str.upper, str.capitalize, str.title)
    return frozenset(case(word) for word in values for case in cases) | {"NaN", "[object Object]"}


NO_IDS = _spellings(WORDS) | frozenset(zeros for zeros in ZEROS if len(zeros) >= 32)
"""Values that a required id, once trimmed, must not have."""
UNKNOWN = _spellings(WORDS | SIGNS) | ZEROS
"""Values that mean unknown in every optional field."""
NO_DEVICES = UNKNOWN | _spellings(DEVICES)
NO_HASHES = (UNKNOWN | HASHES) - frozenset("0" * length for length in range(1, 8))
"""Values that mean unknown for a content hash. Contents may be numbered from 0, so short zeros are excluded."""
ANY = UNKNOWN | NO_DEVICES | NO_HASHES | ADDRESSES
"""All placeholders together. Any other value is a known one."""
