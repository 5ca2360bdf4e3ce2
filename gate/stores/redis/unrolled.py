"""Writes the take script for the classes of a policy: each class is a branch whose limits are constants.

A script that walks a table of limits spends more time on the walk than on the arithmetic and the commands together. So the
store sends one script a policy instead. `lua/take.lua` holds what is the same for all policies, and the marks where the rest
goes; this module writes the rest. The model it must agree with is `gate.core.limits.gcra`.

`gate.stores.redis.bucket_layouts` says how the buckets of an entity lie in its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from gate.core.limits.gcra import GRACE_US
from gate.core.limits.limit import NEVER_US, Limit
from gate.core.limits.take import ClassLimits
from gate.stores.redis.bucket_layouts import (
    KEPT_MS,
    BucketLayouts,
    entities_of,
    in_flight_of,
    longest_cost,
    noted,
    quoted,
    taken_from,
)
from gate.stores.redis.connections.script_call import Script
from gate.stores.redis.layout import LATE_US, MOST_IN_VALUE, described, tagged
from gate.stores.redis.lua import script
from gate.stores.redis.packing import Packing, packing_of

MAX_LIFETIME_US: Final = 1 << 47
_INFINITE: Final = "math.huge"
_COMMENT: Final = re.compile(r"(^| )--(?!@).*$")
_MARK: Final = re.compile(r"^( *)--@(ACCOUNT|CLASSES|IDS|KEPT)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Unrolled:
    """The script for some classes. `shared` are the shared entities in the order of their key numbers, without the due list.

    `numbers` maps each class to its number in the script; `flights` the subjects of each whose in-flight keys it wants, `kinds`
    the hashes of classes with kinds that fingerprints have.
    """

    classes: tuple[ClassLimits, ...]
    script: Script = field(init=False)
    shared: tuple[str, ...] = field(init=False)
    numbers: dict[ClassLimits, int] = field(init=False)
    flights: dict[ClassLimits, tuple[str, ...]] = field(init=False)
    packing: dict[ClassLimits, Packing] = field(init=False)
    kinds: dict[tuple[str, str | None], bytes] = field(init=False, default_factory=dict)
    tags: dict[bytes, bytes] = field(init=False)
    """The tag by which reservations refer to the limits of a class, and what it stands for."""

    def __post_init__(self) -> None:
        tags = dict(tagged(described(each)) for each in self.classes if each.name or each.entity_limits or each.leased)
        object.__setattr__(self, "tags", tags)
        shared = tuple(dict.fromkeys(each.entity for limits in self.classes for each in limits.shared))
        object.__setattr__(self, "shared", shared)
        object.__setattr__(self, "numbers", {limits: n for n, limits in enumerate(self.classes, 1)})
        object.__setattr__(self, "flights", {limits: tuple(in_flight_of(limits)) for limits in self.classes})
        packing = {each: packing_of(each, n, self.flights[each]) for each, n in self.numbers.items()}
        object.__setattr__(self, "packing", packing)
        object.__setattr__(self, "script", Script(_source(self).encode("latin-1")))


def _source(unrolled: Unrolled) -> str:
    layouts = BucketLayouts(unrolled.classes, unrolled.shared)
    ways = []
    for number, limits in enumerate(unrolled.classes, 1):
        ways.append(f"{'if' if number == 1 else 'elseif'} by == {number} then")
        ways += ["  " + line for line in _Branch(limits, layouts, unrolled.flights[limits]).lines()]
    parts = {
        "IDS": "\n".join(_tables(unrolled)),
        "KEPT": "\n".join(f"if need <= {ms * 1_000} then return '{ms}' end" for ms in KEPT_MS),
        "ACCOUNT": "\n".join(layouts.read_account()),
        "CLASSES": "\n".join([*ways, "end"]) if ways else "",
    }

    def filled(mark: re.Match[str]) -> str:
        indent = mark[1]
        return "\n".join(indent + line for line in parts[mark[2]].split("\n"))

    text = _MARK.sub(filled, script("take").decode("latin-1"))
    text = text.replace("--@LATEST", layouts.latest())
    # each gate sends it once, and the server keeps it: without comments and indents it is half as long
    return "\n".join(line for line in (_COMMENT.sub("", line).strip() for line in text.split("\n")) if line)


def _tables(unrolled: Unrolled) -> list[str]:
    classes = unrolled.classes
    lengths = [8 * len(limits.byte_rates) + 2 * len(unrolled.flights[limits]) for limits in classes]
    refuse = [_INFINITE if each.refuse_at is None else repr(each.refuse_at) for each in classes]
    return [
        f"local SHARED, IN_VALUE = {len(unrolled.shared) + 1}, {MOST_IN_VALUE}",
        f"local LENGTH = {{{', '.join(map(str, lengths))}}}",
        f"local REFUSE = {{{', '.join(refuse)}}}",
        f"local AGE = {{{', '.join(str(each.max_score_age_us) for each in classes)}}}",
        f"local NAME = {{{', '.join(quoted(each.name.encode()) for each in classes)}}}",
    ]


class _Branch:
    """The Lua of one class: reads its entities, looks at its limits, and moves all TATs or none."""

    def __init__(self, limits: ClassLimits, layouts: BucketLayouts, flights: tuple[str, ...]) -> None:
        self._limits = limits
        self._layouts = layouts
        self._entities = entities_of(limits)
        self._lifetime = min(limits.lifetime_us, MAX_LIFETIME_US)
        count = len(limits.byte_rates)
        self._costs = [layouts.numbered("c", n) for n in range(1, 1 + count)]
        self._flight_at = {subject: layouts.numbered("c", count + n) for n, subject in enumerate(flights, 1)}
        self._described = described(limits)
        self._listed: list[str] = []
        """For each limit the Lua that says what was taken from it."""
        self._sized: list[tuple[str, str]] = []
        """For each limit on bytes the Lua that tells whether it gave, and how much."""
        self._moves: dict[str, list[str]] = {}
        self._off: list[str] = []
        self._subjects = list(dict.fromkeys(subject for subject, _ in self._entities))

    def lines(self) -> Iterator[str]:
        number = costs = 0
        loaded: set[str] = set()
        yield from self._keys()
        for subject, each in self._entities:
            inside = self._guard(subject)
            if inside:
                yield f"if {inside} then"
            if subject not in loaded:
                loaded.add(subject)
                yield from self._load(subject)
            reserve: tuple[Limit, int, str] | None = None
            for limit in each.limits:
                number += 1
                cost = str(min(limit.rate.cost_us(1), NEVER_US))
                if limit.by_bytes:
                    cost, costs = self._costs[costs], costs + 1
                if limit.reserve_of:
                    reserve = limit, number, cost
                elif reserve is not None:
                    yield from self._look_at_both(subject, reserve, (limit, number, cost))
                    reserve = None
                else:
                    yield from self._look(subject, limit, number, cost)
            if inside:
                yield "end"
        yield "if refused == 0 then"
        yield from (f"  {line}" for line in self._let_in())
        yield "else"
        yield from (f"  {line}" for line in self._refuse())
        yield "end"

    def _guard(self, subject: str) -> str:
        return {"ip": "i_ > 0", "device": "d_ > 0"}.get(subject, "")

    def _key(self, subject: str) -> str:
        own = {"account": "a_", "ip": "i_", "device": "d_"}.get(subject)
        return own or str(self._layouts.shared_at[subject])

    def _keys(self) -> Iterator[str]:
        """Declares what is read inside guards and needed after them, and reads what came with the request."""
        given = [*self._costs, *self._flight_at.values()]
        if given:
            formats = "d" * len(self._costs) + "H" * len(self._flight_at)
            yield from self._layouts.local_lines("c", len(given))
            yield f"{', '.join(given)} = U('<{formats}', A, p)"
        for subject in self._subjects:
            n = self._layouts.number[subject]
            yield f"local {', '.join([f'e{n}', f'q{n}', f'fixed{n}'])}"
            if subject != "account":
                yield from self._layouts.local_lines(f"t{n}_", len(self._layouts.variables(subject)))
        yield from self._layouts.local_lines("x", sum(len(each.limits) for _, each in self._entities))

    def _load(self, subject: str) -> Iterator[str]:
        layouts, n, key = self._layouts, self._layouts.number[subject], self._key(subject)
        names, head, ids = layouts.variables(subject), layouts.head(subject), layouts.ids(subject)
        if subject == "account" or not names:
            return
        if subject.startswith("="):
            yield f"e{n} = S[{key}]"
            opened = f"opened(V[{key}], {head}, {layouts.least(subject)}, {layouts.format(subject)}, {ids})"
            yield f"if not e{n} then e{n} = {opened}; S[{key}] = e{n} end"
            yield f"{', '.join(names)} = {', '.join(f'e{n}[{at}]' for at in range(1, len(names) + 1))}"
            return
        unpacked = f"head, {', '.join(names)}, q{n} = U({layouts.format(subject)}, e{n})"
        yield f"e{n} = V[{key}]"
        yield f"if e{n} then"
        yield "  local head"
        yield f"  if #e{n} >= {layouts.least(subject)} then {unpacked} end"
        yield f"  if head ~= {head} then"
        yield f"    e{n} = relaid(e{n}, {head}, {ids})"
        yield f"    {unpacked}"
        yield "  end"
        yield f"else {', '.join(names)} = {', '.join('0' for _ in names)} end"

    def _others(self, subject: str) -> str:
        n = self._layouts.number[subject]
        if subject == "account":
            return "foreign"
        return f"e{n}.others" if subject.startswith("=") else f"sub(e{n}, q{n})"

    def _look(self, subject: str, limit: Limit, number: int, cost: str) -> Iterator[str]:
        x = self._layouts.numbered("x", number)
        if limit.in_flight:
            self._listed.append(f"({x} and {quoted(self._described.limits[number - 1].took(0))} or '')")
            key = self._flight_at[subject]
            yield f"{x} = flying(V[{key}] or '', {quoted(limit.id)}, {limit.rate.burst})"
            yield f"if {x} ~= 0 then"
            yield from (f"  {line}" for line in self._full(limit, number, f"not {x}", x))
            yield f"  {x} = nil"
            yield "end"
            self._off.append(f"if {x} then take_off({key}, {quoted(limit.id)}, till) end")
            return
        tolerance = min(limit.rate.tolerance_us, NEVER_US)
        yield from self._reach(subject, limit, number, cost)
        yield f"if {x} > now + {tolerance} then"
        never = f"{cost} > {tolerance}" if limit.by_bytes else str(int(cost) > tolerance).lower()
        yield from (f"  {line}" for line in self._full(limit, number, never, f"{x} - now - {tolerance}"))
        yield f"  {x} = nil"
        yield from self._emptiest(limit, number)
        yield "end"

    def _look_at_both(
        self, subject: str, reserve: tuple[Limit, int, str], rest: tuple[Limit, int, str]
    ) -> Iterator[str]:
        """Looks at the reserve of a class and, where that has no room, at the rest of the limit."""
        yield "partial = true"
        waits = []
        for limit, number, cost in (reserve, rest):
            x, tolerance = self._layouts.numbered("x", number), min(limit.rate.tolerance_us, NEVER_US)
            yield from self._reach(subject, limit, number, cost)
            yield f"if {x} > now + {tolerance} then"
            yield f"  local wait{number} = {cost} > {tolerance} and 2 ^ 62 or {x} - now - {tolerance}"
            waits.append(f"wait{number}")
        yield f"  local sooner = math.min({', '.join(waits)})"
        yield from (f"  {line}" for line in self._full(rest[0], rest[1], "sooner >= 2 ^ 62", "sooner"))
        yield f"  {x} = nil"
        yield from self._emptiest(rest[0], rest[1])
        yield "end"
        yield f"  {self._layouts.numbered('x', reserve[1])} = nil"
        yield "end"

    def _reach(self, subject: str, limit: Limit, number: int, cost: str) -> Iterator[str]:
        """Works out the TAT that the bucket would have after the upload."""
        layouts, n = self._layouts, self._layouts.number[subject]
        x, t = layouts.numbered("x", number), layouts.variable(subject, limit)
        known, tolerance = self._described.limits[number - 1], min(limit.rate.tolerance_us, NEVER_US)
        self._listed.append(f"({x} and {taken_from(known, cost)} or '')")
        if limit.by_bytes:
            self._sized.append((x, cost))
        self._moves.setdefault(t, []).append(f"{x}|{cost}")
        yield f"if {t} < now then {x} = now + {cost} elseif {t} <= now + {tolerance + GRACE_US} then {x} = {t} + {cost} else"
        yield "  local wrong"
        yield f"  {t}, wrong = late({self._others(subject)}, {quoted(limit.debt_id)}, {t}, {tolerance})"
        yield f"  if wrong then fixed{n}, unreadable = true, true end"
        yield f"  {x} = {t} + {cost}"
        yield "end"

    def _emptiest(self, limit: Limit, number: int) -> Iterator[str]:
        """Notes the bucket where it is the emptiest so far; its upload fits."""
        if limit.shadow:
            return
        x, tolerance = self._layouts.numbered("x", number), min(limit.rate.tolerance_us, NEVER_US)
        yield "else"
        yield f"  local share = (now + {tolerance} - {x}) * {1.0 / (tolerance or 1)!r}"
        yield f"  if share < least then least, room, full = share, {number}, {x} end"

    def _full(self, limit: Limit, number: int, never: str, wait: str) -> Iterator[str]:
        """What a limit without room does."""
        name = quoted(limit.name.encode())
        if limit.shadow:
            yield f"partial, shadowed = true, shadowed == '' and {name} or shadowed .. '\\n' .. {name}"
            return
        yield "if lenient then partial = true"
        yield f"elseif {never} then refused, wait, never, why = {number}, 2 ^ 62, true, {name}"
        yield f"elseif {wait} > wait then refused, wait, never, why = {number}, {wait}, false, {name} end"

    def _let_in(self) -> Iterator[str]:
        yield f"local till = now + {self._lifetime}"
        for t, moved in self._moves.items():
            first, *others = [move.split("|") for move in moved]
            if not others:
                yield f"if {first[0]} then {t} = {first[0]} end"
                continue
            for x, cost in (first, *others):  # limits of one name on one entity add up
                yield f"if {x} then {t} = ({t} < now and now or {t}) + {cost} end"
        yield from self._off
        yield from self._write_entities("")
        yield "local rflags, record = flags / 4 + anew" + (" + 16" if self._limits.returns else "")
        yield from self._record_of_taken()
        yield from self._keep(str(self._lifetime), self._lifetime + min(LATE_US, self._lifetime))
        if self._limits.returns:
            yield "due[#due + 1], due[#due + 2] = till, KEYS[M + n]"
        yield "flags, refused, wait = flags + 1, room, full"

    def _record_of_taken(self) -> Iterator[str]:
        """The reservation. Mostly every limit gave and there is nothing else to be said, so that one call packs all of it."""
        is_tagged = self._limits.name or self._described.limits or self._described.leased
        raw, sized, span = tagged(self._described)[0] if is_tagged else b"", self._sized, str(self._lifetime)
        tag, form, size = quoted(raw), "c0" + "I6" * len(sized), len(raw) + 6 * len(sized)
        is_whole = not any(self._guard(at) and limit.by_bytes for at, each in self._entities for limit in each.limits)
        if is_whole:
            values = ", ".join([tag, *(cost for _, cost in sized)])
            yield "if flags == 0 and not partial and shadowed == '' then"
            yield f"  record = {_packed('1', 'rflags', span, form, values, size)}"
            yield "else"
        yield " .. ".join([f"  local more = {tag}", *(f"({x} and P('<I6', {cost}) or '')" for x, cost in sized)])
        yield f"  if partial then more, rflags = {' .. '.join([tag, *self._listed])}, rflags + 4 end"
        yield "  if flags > 0 then more = P('<dd', risk, sat) .. more end"
        yield "  if shadowed ~= '' then more, rflags = P('<Hc0', #shadowed, shadowed) .. more, rflags + 64 end"
        yield f"  record = {_packed('1', 'rflags', span, 'c0', 'more', '#more')}"
        if is_whole:
            yield "end"

    def _refuse(self) -> Iterator[str]:
        yield from self._write_entities("fixed")
        account = f"fixed{self._layouts.number['account']}" if "account" in self._subjects else "false"
        yield "if never then"
        yield "  flags = flags + 8"
        yield f"  if {account} then"
        yield from (f"    {line}" for line in self._write_account())
        yield "  end"
        # among too many open reservations a refusal has no room, and nothing is written
        yield "elseif from or nr % 128 < FEW or needless(v, q, byte(v, q + 2)) then"
        yield f"  local record = {_packed('5', '64 + anew', 'wait', 'Hc0', '#why, why', '2 + #why')}"
        yield from (f"  {line}" for line in self._keep("wait", None))
        yield f"elseif {account} then"
        yield from (f"  {line}" for line in self._write_account())
        yield "end"

    def _keep(self, span: str, lasts: int | None) -> Iterator[str]:
        """Appends the reservation `record` and writes the account."""
        yield f"if keep < now + {lasts or span} then keep = now + {lasts or span} end"
        yield f"if from or nr > 0 and nr % 128 {'% FEW == 0' if lasts else '>= FEW'} then"
        yield "  local records"
        yield f"  records, nr = with_record(v, q, nr, record, from, to, M + n, {lasts or 'nil'})"
        yield from (f"  {line}" for line in self._write_account("records", lasts or 0))
        yield "else nr = nr + 1"
        yield from (f"  {line}" for line in self._write_account("(v and sub(v, q) or '') .. record", lasts or 0))
        yield "end"

    def _write_account(self, records: str = "(v and sub(v, q) or '')", span_us: int = 0) -> Iterator[str]:
        """`span_us` is how long the reservation is kept, where that is known."""
        names, head, form = (
            self._layouts.variables("account"),
            self._layouts.head("account"),
            self._layouts.format("account"),
        )
        tats = "".join(f"{name}, " for name in names)
        yield f"local top = keep - {GRACE_US}"
        for name in names:
            yield f"if {name} > top then top = {name} end"
        yield "if nf > 0 then"
        yield "  local last"
        yield "  foreign, last = pruned(foreign)"
        yield "  nf = #foreign / 12"
        yield "  if last > top then top = last end"
        yield "end"
        yield f"V[a_] = P({form}, {head}, {tats}seconds(keep), nf, nr) .. foreign .. {records}"
        yield from noted("a_", span_us)

    def _write_entities(self, only: str) -> Iterator[str]:
        """Writes networks, devices and shared entities; where `only` is set, those with a corrected TAT."""
        for subject in self._subjects:
            n, names, key = self._layouts.number[subject], self._layouts.variables(subject), self._key(subject)
            if subject == "account" or not names:
                continue
            tests = [test for test in (self._guard(subject), only and f"{only}{n}") if test]
            if tests:
                yield f"if {' and '.join(tests)} then"
            if subject.startswith("="):
                yield f"{', '.join(f'e{n}[{at}]' for at in range(1, len(names) + 1))} = {', '.join(names)}"
                yield f"e{n}.live = true"
                yield f"if recorded then e{n}.recorded = true end"
            else:
                yield f"local top, others = {names[0]}, ''"
                for name in names[1:]:
                    yield f"if {name} > top then top = {name} end"
                yield f"if e{n} and q{n} <= #e{n} then"
                yield "  local last"
                yield f"  others, last = pruned(sub(e{n}, q{n}))"
                yield "  if last > top then top = last end"
                yield "end"
                head, form = self._layouts.head(subject), self._layouts.format(subject)
                yield f"V[{key}] = P({form}, {head}, {', '.join(names)}) .. others"
                yield from noted(key, longest_cost(self._entities, subject))
            if tests:
                yield "end"


def _packed(state: str, flags: str, span: str, form: str, values: str, length: str | int) -> str:
    """The Lua that packs a reservation; the last of it are `values`, in that form and of that length."""
    numbers = f"25 + #id + #what + {length}, #id, id, {state}, {flags}, attempt, now, {span}, #what, what"
    return f"P('<HBc0BBI4dI6Hc0{form}', {numbers}, {values})"
