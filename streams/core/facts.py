"""An account's state: bounded, packed, folded from its events in their order and from nothing else.

What is kept are counts, decaying counters, small rings of hashes and keyed hashes of where the account came from; no
caption, link, address or device ever. Crowd facts stay out, so that state can be compared with a replay exactly.
A refused attempt only feeds one bounded counter that no signal reads: refusing must not feed what refuses.
"""

from __future__ import annotations

import msgspec


class Facts(msgspec.Struct, array_like=True, gc=False):
    """What is kept of one account. Times in µs since 1970, 0 for unknown; `digest` depends on every event's bytes.

    `minute`, `hour` and `day` count uploads with these half-lives as of `last_us`, `reports` and `removals` with a week
    as of `blamed_us`. `layout_squares` is the sum of the squares of `layouts`. New fields go to the end, so that older
    states read as if they had the default; any other change needs a new VERSION.
    """

    events: int = 0
    offset: int = -1
    digest: int = 0
    created_us: int = 0
    first_us: int = 0
    last_us: int = 0
    uploads: int = 0
    minute: float = 0.0
    hour: float = 0.0
    day: float = 0.0
    gaps: int = 0
    gap_mean: float = 0.0
    gap_variance: float = 0.0
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
    ip: int = 0
    device: int = 0
    content: int = 0
    host: int = 0
    completed: int = 0
    reports: float = 0.0
    removals: float = 0.0
    blamed_us: int = 0
    refused: int = 0


VERSION = 2
"""Of the packed layout, its first byte. A state of an older one is not read: its account starts anew."""


_VERSION = bytes((VERSION,))


_pack = msgspec.msgpack.Encoder().encode


_unpack = msgspec.msgpack.Decoder(Facts).decode


_any_layout = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def pack(state: Facts) -> bytes:
    """The state as it is kept."""
    return _VERSION + _pack(state)


def unpack(data: bytes | None) -> Facts:
    """The state in `data`, a fresh one for None. Raises msgspec.DecodeError for what `pack` did not write."""
    if data is None:
        return Facts()
    if data[:1] != _VERSION:
        raise msgspec.DecodeError(f"not a state of version {VERSION}")
    return _unpack(data[1:])


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
