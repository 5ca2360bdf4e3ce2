"""Pauses as JSON: the one strict parser of the kill switch's state.

Control data is hostile input: whoever can write it can stop every upload, or let all in. What is read here is capped
in size and count, knows no unknown field and no odd time, and is refused whole, naming the field. The caller keeps
the last good state.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gate.core.bucket import DAY_US
from gate.core.pause import Action, Board, Pause, Scope
from gate.errors import StateUnreadable

MAX_BYTES = 256 * 1024
MAX_PAUSES = 1_000
MAX_ID = 64
MAX_NAME = 256
MAX_TEXT = 2_000
MAX_SCOPE = 500
MAX_REV = 1 << 53
MAX_TIME_US = 4_102_444_800_000_000
"""2100-01-01: a time beyond it is a mistake in units."""
MAX_LENGTH_US = 366 * DAY_US
"""Longest pause that is read. What people may set is the acts' to limit, and shorter."""


class _Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    classes: list[str] = []
    surfaces: list[str] = []
    kinds: list[str] = []
    countries: list[str] = []


class _Pause(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    id: str
    rev: int
    scope: _Scope
    action: Action
    reason: str
    text: str
    owner: str
    starts_at_us: int
    expires_at_us: int
    released_at_us: int | None = None
    released_by: str | None = None


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pauses: list[_Pause]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Document).decode


def encode_board(board: Board) -> bytes:
    """All pauses of `board` without its break-glass entries, in the order of their ids.

    Raises StateUnreadable where it could not be read back, so that nobody writes what every gate would refuse.
    """
    data = _encode(_Document([_wire(board.pauses[key]) for key in sorted(board.pauses)]))
    _check_size(data)
    _check_pauses(_decode(data).pauses)
    return data


def decode_board(data: bytes) -> Board:
    """The board that `data` spells. Raises StateUnreadable, naming the field."""
    return Board({pause.id: pause for pause in _parse(data)})


def decode_break_glass(data: bytes) -> tuple[Pause, ...]:
    """The pauses of a break-glass file, the same document as a board. Raises StateUnreadable, naming the field."""
    return _parse(data)


def encode_break_glass(pauses: Iterable[Pause]) -> bytes:
    """The content of a break-glass file with `pauses`. Raises StateUnreadable where it could not be read back."""
    return encode_board(Board({pause.id: pause for pause in pauses}))


def _parse(data: bytes) -> tuple[Pause, ...]:
    _check_size(data)
    try:
        document = _decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StateUnreadable(f"not a board: {error}") from error
    _check_pauses(document.pauses)
    return tuple(_pause(wire) for wire in document.pauses)


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise StateUnreadable(f"a board of {len(data)} bytes, more than {MAX_BYTES}")


def _check_pauses(pauses: list[_Pause]) -> None:
    if len(pauses) > MAX_PAUSES:
        raise StateUnreadable(f"a board of {len(pauses)} pauses, more than {MAX_PAUSES}")
    seen: set[str] = set()
    for number, pause in enumerate(pauses):
        _check(pause, f"pauses[{number}]")
        if pause.id in seen:
            raise _odd(f"pauses[{number}].id", "is there twice")
        seen.add(pause.id)


def _check(pause: _Pause, place: str) -> None:
    _check_word(pause.id, f"{place}.id", MAX_ID)
    _check_word(pause.reason, f"{place}.reason", MAX_ID)
    _check_word(pause.owner, f"{place}.owner", MAX_NAME)
    if len(pause.text) > MAX_TEXT:
        raise _odd(f"{place}.text", f"is longer than {MAX_TEXT}")
    if not 1 <= pause.rev <= MAX_REV:
        raise _odd(f"{place}.rev", "is not a positive revision")
    _check_time(pause.starts_at_us, f"{place}.starts_at_us")
    _check_time(pause.expires_at_us, f"{place}.expires_at_us")
    if pause.expires_at_us <= pause.starts_at_us:
        raise _odd(f"{place}.expires_at_us", "is not after the start")
    if pause.expires_at_us - pause.starts_at_us > MAX_LENGTH_US:
        raise _odd(f"{place}.expires_at_us", "is more than a year after the start")
    if pause.released_at_us is not None:
        _check_time(pause.released_at_us, f"{place}.released_at_us")
    if pause.released_by is not None:
        if pause.released_at_us is None:
            raise _odd(f"{place}.released_by", "stands without a time of release")
        _check_word(pause.released_by, f"{place}.released_by", MAX_NAME)
    for name in ("classes", "surfaces", "kinds", "countries"):
        values: list[str] = getattr(pause.scope, name)
        if len(values) > MAX_SCOPE:
            raise _odd(f"{place}.scope.{name}", f"has more than {MAX_SCOPE} values")
        for value in values:
            _check_word(value, f"{place}.scope.{name}", MAX_NAME)


def _check_word(value: str, place: str, longest: int) -> None:
    if not value or len(value) > longest:
        raise _odd(place, f"is empty or longer than {longest}")
    if not value.isprintable():
        raise _odd(place, "has a character that cannot be shown")


def _check_time(value: int, place: str) -> None:
    if not 0 <= value < MAX_TIME_US:
        raise _odd(place, "is no time in µs since 1970")


def _odd(place: str, what: str) -> StateUnreadable:
    return StateUnreadable(f"not a board: `{place}` {what}")


def _wire(pause: Pause) -> _Pause:
    scope = pause.scope
    return _Pause(
        pause.id,
        pause.rev,
        _Scope(sorted(scope.classes), sorted(scope.surfaces), sorted(scope.kinds), sorted(scope.countries)),
        pause.action,
        pause.reason,
        pause.text,
        pause.owner,
        pause.starts_at_us,
        pause.expires_at_us,
        pause.released_at_us,
        pause.released_by,
    )


def _pause(wire: _Pause) -> Pause:
    scope = wire.scope
    return Pause(
        wire.id,
        wire.rev,
        Scope(frozenset(scope.classes), frozenset(scope.surfaces), frozenset(scope.kinds), frozenset(scope.countries)),
        wire.action,
        wire.reason,
        wire.text,
        wire.owner,
        wire.starts_at_us,
        wire.expires_at_us,
        wire.released_at_us,
        wire.released_by,
    )
