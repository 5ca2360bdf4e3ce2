"""A batch of checks as one call of the script: how it is packed, and how its reply is read.

Requests and answers are packed numbers, one string for a whole batch, because each argument of a command costs the server and the
client more than the numbers in it. The layouts stand at the top of `lua/take.lua`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from hashlib import sha1
from typing import Any, Final

from msgspec.structs import replace

from gate.core.hot_facts import MetFact
from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import NEVER_US, Room
from gate.core.limits.take import RefusedByHot, TakeRequest, TakeResult
from gate.core.standing import UNKNOWN, Standing
from gate.stores.redis.layout import FINGERPRINT, LONGEST_UPLOAD, upload_hash
from gate.stores.redis.more_answers import with_more
from gate.stores.redis.packing import numbered_limits
from gate.stores.redis.take_keys import TakeKeys, keys_under, shared_keys, with_raw_names
from gate.stores.redis.unrolled import Unrolled

_CHARGED, _REPEATED, _SCORED, _NEVER_FITS, _UNREADABLE, _DOES_NOT_ACT, _CONFLICT, _LIMITS = 1, 2, 4, 8, 16, 32, 64, 128
_RESENT: Final = _CHARGED | _REPEATED | _NEVER_FITS
_JUDGES_ANEW, _KEEP_LIMITS, _RECORDED = 4, 8, 16
_ANSWER: Final = struct.Struct("<BdBH")
_TIMES: Final = struct.Struct("<ddddd")
_TIMES_FOLLOW: Final = 128
_COUNT: Final = struct.Struct("<H")
_NOW: Final = struct.Struct("<d")
_SMALL: Final = 1 << 40
MOST_KINDS: Final = 4_096
"""Hashes of classes with kinds that are kept."""
_PSEUDONYM, _OF_TWO = 16, {32}
"""Digits of a pseudonym, and of those of a network and a device together."""
_WHOLE: Final = FINGERPRINT.size
_pack_fingerprint, _from_hex = FINGERPRINT.pack, bytes.fromhex


class Batch:
    """One call for some checks, packed at once for all of them, and how to read its reply. See `script_call.ScriptCall`.

    `unreadable` counts the checks of the batch for which a stored value was not believed, once the reply is read.
    """

    __slots__ = (
        "_argument",
        "_begins_with_brace",
        "_hot",
        "_key_count",
        "_keys",
        "_unrolled",
        "first_key",
        "script",
        "unreadable",
    )

    def __init__(
        self, requests: Sequence[TakeRequest], unrolled: Unrolled, prefix: str, due: str | None = None
    ) -> None:
        self.unreadable = 0
        self._begins_with_brace = False
        self.script = unrolled.script
        self._unrolled = unrolled
        self._hot: dict[int, tuple[MetFact, bool]] = {}
        self.first_key, shared = shared_keys(prefix, unrolled.shared, due)
        keys = self._pack(requests, keys_under(prefix), shared)
        if self._begins_with_brace or not keys.isascii():
            lengths = [len(request.account) for request in requests]
            keys = self._pack(with_raw_names(requests), keys_under(prefix), shared, lengths)
        self._keys = keys.encode("latin-1")

    def packed(self, known: bool) -> bytes:
        """See `script_call.ScriptCall`."""
        return self.script.packed(known, self._key_count, self._keys, self._argument)

    def _pack(
        self, requests: Sequence[TakeRequest], keys: TakeKeys, shared: str, characters: Sequence[int] = ()
    ) -> str:
        """Packs the argument and returns the packed keys. `characters` are the lengths of accounts' ids where names are raw."""
        encoding, kinds = ("latin-1", {}) if characters else ("utf-8", self._unrolled.kinds)
        names, packing, kind_of = self.names_of(requests), self._unrolled.packing, kinds.get
        begin_network, begin_device, begin_upload = keys.networks, keys.devices, keys.uploads
        shown = [shared]
        own: list[str] = []
        given = [_COUNT.pack(len(requests))]
        flying = self._keys_in_flight(requests, keys, shown)
        count = 1 + len(self._unrolled.shared) + len(flying)
        accounts: dict[str, int] = {}
        networks: dict[str, int] = {}
        devices: dict[str, int] = {}
        for n, request in enumerate(requests):
            account, upload, ip, device = request.account, request.upload_id, request.ip, request.device
            number, alone, by_ip, by_device, packed, packed_whole = packing[request.class_limits]
            first, second, third, last, length, between = (
                keys.parts(len(account), characters[n]) if characters else keys[len(account)]
            )
            a = accounts.setdefault(account, count + 1)
            if a > count:
                count += 3
                if "}" <= account < "~":  # it begins with }, see `account_keys.in_key`
                    self._begins_with_brace = True
                shown.append(f"{first}{account}{second}{account}{third}{account}{last}")
            if len(upload) > LONGEST_UPLOAD:
                upload = upload_hash(upload.encode(encoding))
            own.append(f"{begin_upload[length + len(upload)]}{account}{between}{upload}\r\n")
            i = d = special = 0
            if by_ip and ip is not None:
                i = networks.setdefault(ip, count + 1)
                if i > count:
                    count = i
                    shown.append(f"{begin_network[len(ip)]}{ip}\r\n")
            if by_device and device is not None:
                d = devices.setdefault(device, count + 1)
                if d > count:
                    count = d
                    shown.append(f"{begin_device[len(device)]}{device}\r\n")
            now_us, size, attempt = request.now_us, request.size, request.attempt
            if request.hot is not None or request.keep_limits or request.judges_anew or now_us is not None:
                special = self._special(n, request)
            kind, of = kind_of((request.class_, request.kind)), names[n << 4 : (n << 4) + 16]
            if alone is None or kind is None or not of or ip is None or len(ip) != _PSEUDONYM or not 0 <= size < _SMALL:
                what = self.fingerprint(request, kinds, encoding)
                numbers = self._further(request, keys, flying)
                given += (packed(number, special, a, i, d, attempt, len(what), *numbers), what)
            elif alone:
                per_us, rate = alone
                cost = -(-size * per_us // rate)
                cost = cost if cost < NEVER_US else NEVER_US
                given.append(packed_whole(number, special, a, i, d, attempt, _WHOLE, cost, size << 8 | 1, of, kind))
            else:
                given.append(packed_whole(number, special, a, i, d, attempt, _WHOLE, size << 8 | 1, of, kind))
            if now_us is not None:
                given.append(_NOW.pack(now_us))
        self._key_count = count + len(own)
        self._argument = b"".join(given)
        return "".join(shown) + "".join(own)

    @staticmethod
    def names_of(requests: Sequence[TakeRequest]) -> bytes:
        """The pseudonyms of network and device of each, 16 bytes a request; empty where one of them has none."""
        names = [f"{request.ip}{request.device}" for request in requests]
        if set(map(len, names)) != _OF_TWO:
            return b""
        try:
            found = _from_hex("".join(names))
        except ValueError:
            return b""
        return found if len(found) == 16 * len(names) else b""  # spaces between digits are read over

    @staticmethod
    def fingerprint(request: TakeRequest, kinds: dict[tuple[str, str | None], bytes], encoding: str = "utf-8") -> bytes:
        """The fingerprint of a check as it is stored, see `layout`; pseudonyms are lower-case digits. `kinds` keeps
        the hashes of classes with their kinds."""
        ip, device, size = request.ip, request.device, request.size
        if ip is not None and device is not None and len(ip) == 16 and 0 <= size < _SMALL:
            try:
                names = _from_hex(ip + device)
            except ValueError:  # they are no pseudonyms
                names = b""
            if len(names) == 16:
                of = request.class_, request.kind
                kind = kinds.get(of)
                if kind is None:
                    if len(kinds) >= MOST_KINDS:  # a caller may make them up
                        kinds.clear()
                    line = f"{of[0]}\n{of[1] or ''}".encode(encoding)
                    kind = kinds[of] = sha1(line, usedforsecurity=False).digest()[:4]
                return _pack_fingerprint(size << 8 | 1, names, kind)
        return request.fingerprint.encode(encoding)

    def _keys_in_flight(self, requests: Sequence[TakeRequest], keys: TakeKeys, shown: list[str]) -> dict[str, int]:
        """Appends the keys of what is in flight, where limits count it; returns them with their numbers."""
        flying: dict[str, int] = {}
        flights, before = self._unrolled.flights, 1 + len(self._unrolled.shared)
        for request in requests if any(flights.values()) else ():
            for subject in flights[request.class_limits]:
                key = keys.in_flight(subject, request)
                if key and key not in flying:
                    flying[key] = before + len(flying) + 1
                    shown.append(key)
        return flying

    def _further(self, request: TakeRequest, keys: TakeKeys, flying: Mapping[str, int]) -> list[int]:
        """The costs of a request that count bytes, and the numbers of the keys of what is in flight."""
        limits = request.class_limits
        costs = [min(rate.cost_us(request.size), NEVER_US) for rate in limits.byte_rates]
        subjects = self._unrolled.flights[limits]
        return costs + [flying.get(keys.in_flight(subject, request), 0) for subject in subjects]

    def _special(self, n: int, request: TakeRequest) -> int:
        """The rare parts of a request: a hot fact, which is kept for the answer; limits to keep; refusals that are not repeated;
        a recorded clock."""
        special = _RECORDED if request.now_us is not None else 0
        if request.keep_limits:
            special += _KEEP_LIMITS
        if request.judges_anew:
            special += _JUDGES_ANEW
        if request.hot is not None:
            refused_by = request.class_limits.refused_by(request.hot)
            self._hot[n] = request.hot, refused_by is not RefusedByHot.NOBODY
            special += refused_by
        return special

    def read(self, reply: Sequence[Any]) -> list[TakeResult]:
        """What the script answered, one for each request."""
        results: list[TakeResult] = []
        limits_by_class, unscored, charged_only = numbered_limits(self._unrolled.classes), UNKNOWN, _CHARGED
        (clock,) = _NOW.unpack_from(reply[1])
        clock_us, times_at = int(clock), _NOW.size
        usual: TakeResult | None = None  # one for all whose emptiest bucket has the same room
        of_wait, of_class, of_limit = 0.0, 0, 0
        for flags, wait, class_, limit in _ANSWER.iter_unpack(reply[0]):
            if flags == charged_only and 0 < class_ < _TIMES_FOLLOW:  # without a score, let in, as nearly all are
                if usual is None or wait != of_wait or class_ != of_class or limit != of_limit:
                    of_wait, of_class, of_limit = wait, class_, limit
                    room = Room(limits_by_class[class_ - 1][limit - 1], int(wait))
                    usual = TakeResult(unscored, True, False, None, (), clock_us, room)
                results.append(usual)
                continue
            standing, now_us = UNKNOWN, clock_us
            if class_ >= _TIMES_FOLLOW:
                class_ -= _TIMES_FOLLOW
                now, risk, scored_at, half_life, base = _TIMES.unpack_from(reply[1], times_at)
                times_at, now_us = times_at + _TIMES.size, int(now)
                if flags & _SCORED:
                    acts = not flags & _DOES_NOT_ACT
                    standing = Standing(risk, int(scored_at), None, int(half_life), base, now_us, acts)
            refusal: Refusal | None = None
            free: Room | None = None
            if class_:
                named = limits_by_class[class_ - 1][limit - 1]
                if flags & _CHARGED:
                    free = Room(named, int(wait))
                else:
                    refusal = Refusal(named.name, None if flags & _NEVER_FITS else int(wait))
            charged, repeated = flags & _CHARGED == _CHARGED, flags & _REPEATED == _REPEATED
            if repeated and not charged:  # the name of the limit comes with `with_more`
                refusal, repeated = Refusal("", int(wait)), False
            conflict = flags & _CONFLICT == _CONFLICT
            limits_of = "" if flags & _LIMITS else None
            resent = flags & _RESENT == _RESENT
            results.append(
                TakeResult(standing, charged, repeated, refusal, (), now_us, free, conflict, limits_of, resent)
            )
            if flags & _UNREADABLE:
                self.unreadable += 1
        for at, more in zip(reply[2::2], reply[3::2], strict=True) if len(reply) > 2 else ():
            results[at], is_readable = with_more(results[at], more)
            self.unreadable += not is_readable
        for at, (hot, refuses) in self._hot.items():
            if not (results[at].repeated and refuses):  # such an upload was let in before, and stays so
                results[at] = replace(results[at], standing=results[at].standing.meeting(hot))
        return results
