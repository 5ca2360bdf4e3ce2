"""An account's facts: bounded, packed, and folded only from its own events.

They hold counts, decaying counters, small rings of hashes, and keyed hashes of networks, devices, contents and hosts. They
never hold a caption, link, address, device or reporter. They hold no facts of the crowd, so that they equal those of a
replay exactly. A refused attempt updates times, networks, devices and one counter of its own only: a refusal must not
lead to further refusals.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from streams.core.migration import SECOND, THIRD, migrated, shortened, trimmed

S = TypeVar("S", bound=msgspec.Struct)


def _stored_plainly(struct: type[S]) -> type[S]:
    """Let Python's own code set the fields of a struct with `gc=False`.

    The setter of msgspec prepares objects for the collector, which such structs have no need of. Folding sets thirty
    fields an event, and the interpreter has an instruction for fields that Python's own code sets: a quarter of the time.
    """
    for name in ("__setattr__", "__delattr__"):  # the type has one slot for both, so it takes both to change it
        type.__setattr__(struct, name, getattr(object, name))
    return struct


@_stored_plainly
class CaptionFacts(msgspec.Struct, array_like=True, gc=False):
    """What the account's captions leave behind, folded from `CaptionNumbers`. It holds no caption.

    `count` captions had the sum `odds` and the sum of squares `odds_squares` of their log odds, in 64ths; `low` and `high`
    of them lay below and above a bound. `near` counts marks, two a caption, and `nearly` captions, that were in the ring
    `marks`; `skeleton_repeats` those in the ring `skeletons`. The rest are sums over captions; `char_squares` of squares.
    """

    count: int = 0
    odds: int = 0
    odds_squares: int = 0
    low: int = 0
    high: int = 0
    near: int = 0
    nearly: int = 0
    skeleton_repeats: int = 0
    chars: int = 0
    char_squares: int = 0
    upper: int = 0
    digits: int = 0
    beyond: int = 0
    spaces: int = 0
    punctuation: int = 0
    emoji: int = 0
    mentions: int = 0
    tags: int = 0
    links: int = 0
    replies: int = 0
    marks: bytes = b""
    skeletons: bytes = b""


@_stored_plainly
class LinkFacts(msgspec.Struct, array_like=True, gc=False):
    """What the link model read in the account's uploads with links. It holds no link.

    `count` such uploads had the sum `odds` and the sum of squares `odds_squares` of the log odds of their worst links,
    in 64ths; `high` of them lay above a bound.
    """

    count: int = 0
    odds: int = 0
    odds_squares: int = 0
    high: int = 0


@_stored_plainly
class Facts(msgspec.Struct, array_like=True, gc=False):
    """The facts of one account. Times are in µs since 1970, 0 if unknown; `digest` depends on every event's bytes.

    `created_us` is the first creation time that was not after its event. `latest_us` is the time of the latest event of
    any kind, `first_us` and `last_us` those of the first and the last upload that was let in. `minute`, `hour` and
    `day` count such uploads with these half-lives; `removals`, and challenges `passed` and `failed`, are counted with a
    half-life of a week (`window`). `late` counts uploads that came too late for these counts or for `beats`;
    `malformed` counts fields that broke their rule. `event_ids`, `groups`, `contents`, `templates` and `hosts` are
    rings; `networks`, `devices` and `reporters` dated items (`rings`). `content` and `host` are the hashes of the last
    content and link host, of 64 bits; states of earlier releases may hold unkeyed ones of 32 bits until the next upload
    or link. `layouts` counts captions by layout, up to the last layout that was met; `layout_squares` is the sum of its
    squares.

    `sessions` counts uploads half an hour or more after the one before, and the first; `longest_gap` is the most minutes
    between two of them. `deleted` counts uploads that the owner removed, `deleted_soon` those removed within ten minutes of
    the last upload. `blamed` counts removals by others, and reports by those who count in full (`reporters`); it never
    halves. `links` is None until a link model has read an upload with links. `hours` counts active hours by hour of the day
    (`day_rhythm`).

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
    captions: CaptionFacts | None = None
    sessions: int = 0
    longest_gap: int = 0
    deleted: int = 0
    deleted_soon: int = 0
    blamed: int = 0
    links: LinkFacts | None = None
    hours: bytes = b""


VERSION = 4
"""The version of the packed layout, its first byte. States of the two versions before are read too, older ones are not."""

_VERSION = bytes((VERSION,))
READABLE = frozenset((_VERSION, THIRD, SECOND))
"""The first byte of every state that `unpack` reads."""


class _Beginning(msgspec.Struct, array_like=True, gc=False):
    """The first fields of `Facts`, which suffice to know how long an account has been inactive."""

    events: int
    offset: int
    digest: int
    event_ids: bytes
    created_us: int
    latest_us: int


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Facts).decode
_unpack_beginning = msgspec.msgpack.Decoder(_Beginning).decode
_any_layout = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def pack(facts: Facts) -> bytes:
    """The facts as packed bytes."""
    return _VERSION + _pack(facts)


def unpack(data: bytes | None) -> Facts:
    """The facts in `data`, empty ones for None. Raises msgspec.DecodeError for bytes that `pack` did not write."""
    if data is None:
        return Facts()
    first = data[:1]
    if first == _VERSION:
        return _unpack(data[1:])
    if first == THIRD:
        return _of_third(_unpack(data[1:]))
    if first == SECOND:
        try:
            return Facts(**migrated(data[1:]))
        except (ArithmeticError, ValueError) as error:  # numbers that no state holds
            raise msgspec.DecodeError(f"not a state of version {SECOND[0]}: {error}") from error
    raise msgspec.DecodeError(f"not a state of version {VERSION}")


def _of_third(facts: Facts) -> Facts:
    """The facts of a state of the third layout, which differs in these fields only."""
    facts.contents, facts.templates, facts.hosts = map(shortened, (facts.contents, facts.templates, facts.hosts))
    facts.layouts = trimmed(facts.layouts)
    if facts.removals and not facts.blamed:
        facts.blamed = 1
    return facts


def latest_us(data: bytes) -> int:
    """The time of the account's latest event of any kind, µs. Raises msgspec.DecodeError as `unpack` does."""
    if data[:1] in (_VERSION, THIRD):
        return _unpack_beginning(data[1:]).latest_us
    return unpack(data).latest_us


def version(data: bytes) -> int | None:
    """The version of the layout of `data`, None if it is not a state. A state of our version is not checked further."""
    if data[:1] == _VERSION:
        return VERSION
    first = data[0] if data else 0
    said = first if 1 < first < 0x80 else 1  # the first layout had no version and began with the byte of a list
    try:
        _any_layout(data if said == 1 else data[1:])
    except (msgspec.DecodeError, RecursionError):
        return None
    return said
