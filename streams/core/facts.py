"""An account's facts: bounded, packed, folded from its events and from nothing else.

What is kept are counts, decaying counters, small rings of hashes and keyed hashes of where the account came from; no
caption, link, address, device or reporter ever. Crowd facts stay out, so that facts can be compared with a replay
exactly. A refused attempt moves time and surroundings and one counter of its own: refusing must not feed what refuses.
"""

from __future__ import annotations

import msgspec

from streams.core.migration import FORMER, migrated


class Facts(msgspec.Struct, array_like=True, gc=False):
    """What is kept of one account. Times in µs since 1970, 0 for unknown; `digest` depends on every event's bytes.

    `created_us` is the first creation time that was not after its event. `latest_us` is the time of the latest event of
    any kind, `first_us` and `last_us` those of the first and the last upload that was let through. `minute`, `hour` and
    `day` count such uploads with these half-lives, `removals`, `passed` and `failed` what they say with a week's
    (`window`). `late` counts uploads that came too late for them or for `beats`; `malformed` counts fields that broke
    their rule. `event_ids`, `groups`, `contents`, `templates` and `hosts` are rings, `networks`, `devices` and
    `reporters` dated items (`rings`). `layout_squares` is the sum of the squares of `layouts`.

    New fields go to the end, so that older states read as if they had the default; any other change needs a VERSION.
    """

    events: int = 0
    offset: int = -1
    digest: int = 0
    event_ids: bytes = b""
    created_us: int = 0
    latest_us: int = 0
    first_us: int = 0
    last_us: int = 0
    uploads: int = 0
    refused: int = 0
    completed: int = 0
    late: int = 0
    malformed: int = 0
    minute: list[int] = []
    hour: list[int] = []
    day: list[int] = []
    beats: list[int] = []
    groups: bytes = b""
    contents: bytes = b""
    templates: bytes = b""
    hosts: bytes = b""
    content_repeats: int = 0
    template_repeats: int = 0
    host_repeats: int = 0
    texts: int = 0
    layouts: list[int] = []
    layout_squares: int = 0
    mentions: int = 0
    spam: float = 0.0
    linked: int = 0
    suspicion: float = 0.0
    networks: bytes = b""
    devices: bytes = b""
    content: int = 0
    host: int = 0
    reporters: bytes = b""
    removals: list[int] = []
    passed: list[int] = []
    failed: list[int] = []


VERSION = 3
"""Of the packed layout, its first byte. States of the version before are read too; older accounts start anew."""

_VERSION = bytes((VERSION,))
READABLE = frozenset((_VERSION, FORMER))
"""The first byte of every state that `unpack` reads."""


class _Beginning(msgspec.Struct, array_like=True, gc=False):
    """The first fields of `Facts`, which is all that must be read to know how long an account is inactive."""

    events: int = 0
    offset: int = -1
    digest: int = 0
    event_ids: bytes = b""
    created_us: int = 0
    latest_us: int = 0


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Facts).decode
_unpack_beginning = msgspec.msgpack.Decoder(_Beginning).decode
_any_layout = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def pack(facts: Facts) -> bytes:
    """The facts as they are kept."""
    return _VERSION + _pack(facts)


def unpack(data: bytes | None) -> Facts:
    """The facts in `data`, fresh ones for None. Raises msgspec.DecodeError for what no `pack` wrote."""
    if data is None:
        return Facts()
    first = data[:1]
    if first == _VERSION:
        return _unpack(data[1:])
    if first == FORMER:
        return Facts(**migrated(data[1:]))
    raise msgspec.DecodeError(f"not a state of version {VERSION}")


def latest_us(data: bytes) -> int:
    """The time of the account's latest event of any kind, µs. Raises msgspec.DecodeError for what no `pack` wrote."""
    if data[:1] == _VERSION:
        return _unpack_beginning(data[1:]).latest_us
    return unpack(data).latest_us


def version(data: bytes) -> int | None:
    """The version of the layout that `data` was packed in, None for what is no state of any; not looked into if ours."""
    if data[:1] == _VERSION:
        return VERSION
    first = data[0] if data else 0
    said = first if 1 < first < 0x80 else 1  # the first layout had no version and began as a list does
    try:
        _any_layout(data if said == 1 else data[1:])
    except msgspec.DecodeError:
        return None
    return said
