"""How the buckets of each kind of entity lie in its value, and the Lua that reads an account.

All limits on one subject that any class has share a layout, so that a class that lacks one leaves its TAT alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gate.core.limits.gcra import GRACE_US
from gate.core.limits.limit import MOST_BUCKETS, EntityLimits, Limit
from gate.core.limits.take import ClassLimits
from gate.stores.redis.layout import DescribedLimit, account_header, header

MOST_LOCALS: Final = 60
"""How many local variables the branch of a class has at most. Lua allows a script 200, and the rest of it needs up to 120."""
KEPT_MS: Final = (1, 1_000, 75_000, 600_000, 3_900_000, 14_400_000, 90_000_000)
"""How long keys are kept, for which the script has strings ready; see `kept_for` in `lua/take.lua`."""
_OWN: Final = ("account", "ip", "device")


def entities_of(limits: ClassLimits) -> list[tuple[str, EntityLimits]]:
    """The limits of each entity of a class in the order of their numbers; a shared entity under its key's name."""
    own = zip(_OWN, (limits.account, limits.ip, limits.device), strict=True)
    return [
        *((subject, each) for subject, each in own if each is not None),
        *((f"={each.entity}", each.limits) for each in limits.shared),
    ]


def in_flight_of(limits: ClassLimits) -> Iterator[str]:
    """The subjects with limits on what is in flight, each once: account, ip, device, or the name of a shared entity."""
    yield from dict.fromkeys(
        subject for subject, each in entities_of(limits) if any(limit.in_flight for limit in each.limits)
    )


def quoted(raw: bytes) -> str:
    """Bytes as a Lua string."""
    return '"' + "".join(chr(b) if 48 <= b < 58 or 65 <= b < 91 or 97 <= b < 123 else f"\\{b:03d}" for b in raw) + '"'


def taken_from(limit: DescribedLimit, cost: str) -> str:
    """The Lua of what a reservation says of a limit that gave."""
    if limit.by_bytes:
        return f"{quoted(limit.took())} .. P('<I6', {cost})"
    return quoted(limit.took(limit.cost_us))


def longest_cost(entities: Sequence[tuple[str, EntityLimits]], subject: str) -> int:
    """For how long a full bucket of the subject is not full after one upload, those of bytes apart, and the grace of a TAT."""
    limits = (limit for at, each in entities if at == subject for limit in each.limits)
    return GRACE_US + max(
        (each.rate.cost_us(1) for each in limits if not each.by_bytes and not each.in_flight), default=0
    )


def noted(key: str, span_us: int) -> Iterator[str]:
    """Notes that a key is to be written. It compares with the time for which it is mostly kept before it calls a function.

    A key that is needed for less than the grace of a TAT, as that of a probe, is kept no longer than that.
    """
    usual = next((ms for ms in KEPT_MS if span_us <= ms * 1000), None) if span_us >= GRACE_US else None
    quick = f"not recorded and top <= now + {usual * 1000 - GRACE_US} and '{usual}' or " if usual else ""
    yield f"write({key}, {quick}kept_for(top - now + {GRACE_US}))"


class BucketLayouts:
    """For each subject the limits of all classes together, and the Lua names of their ids and heads."""

    def __init__(self, classes: Sequence[ClassLimits], shared: Sequence[str]) -> None:
        self.limits: dict[str, list[bytes]] = {"account": []}
        self.shared_at = {f"={entity}": n for n, entity in enumerate(shared, 1)}
        for limits in classes:
            for subject, each in entities_of(limits):
                known = self.limits.setdefault(subject, [])
                known += dict.fromkeys(at.id for at in each.limits if not at.in_flight and at.id not in known)
        self.number = {subject: n for n, subject in enumerate(self.limits)}
        self.is_wide = any(self._locals(limits) > MOST_LOCALS for limits in classes)
        """Whether numbers lie in tables, because there are too many for local variables, which are faster."""
        if any(len(ids) > MOST_BUCKETS for ids in self.limits.values()):
            raise ValueError(f"a policy has at most {MOST_BUCKETS} limits on one subject")

    def _locals(self, limits: ClassLimits) -> int:
        """How many local variables the branch of a class needs, one for each limit and those of its entities."""
        entities = entities_of(limits)
        own = sum(3 + len(self.limits[subject]) for subject in {"account", *(subject for subject, _ in entities)})
        return own + len(limits.byte_rates) + sum(len(each.limits) for _, each in entities)

    def head(self, subject: str) -> str:
        """The head of a value, as Lua. It stands where it is used, because a script has at most 200 local variables."""
        ids = self.limits[subject]
        return quoted(account_header(ids) if subject == "account" else header(ids))

    def format(self, subject: str) -> str:
        """The format of a value's head and what follows it, as Lua. With the head in it a value takes one call to pack."""
        numbers = f"{'d' * len(self.limits[subject])}{'I4BB' if subject == 'account' else ''}"
        return f"'<c{1 + 4 * len(self.limits[subject])}{numbers}'"

    def ids(self, subject: str) -> str:
        """The ids of the limits, as Lua."""
        return f"{{{', '.join(map(quoted, self.limits[subject]))}}}"

    def variables(self, subject: str) -> list[str]:
        """The TATs of a subject in its layout."""
        return [self.numbered(f"t{self.number[subject]}_", n) for n in range(1, 1 + len(self.limits[subject]))]

    def variable(self, subject: str, limit: Limit) -> str:
        return self.variables(subject)[self.limits[subject].index(limit.id)]

    def numbered(self, name: str, number: int) -> str:
        """One of several variables, or one place in a table of them."""
        return f"{name}[{number}]" if self.is_wide else f"{name}{number}"

    def local_lines(self, name: str, count: int) -> Iterator[str]:
        """Declares so many variables, or the table of them."""
        if self.is_wide:
            yield f"local {name} = {{}}"
            return
        names = [f"{name}{number}" for number in range(1, count + 1)]
        for start in range(0, count, 20):
            yield f"local {', '.join(names[start : start + 20])}"

    def least(self, subject: str) -> int:
        return 1 + 12 * len(self.limits[subject]) + (6 if subject == "account" else 0)

    def read_account(self) -> list[str]:
        names, head, ids = self.variables("account"), self.head("account"), self.ids("account")
        tats = "".join(f"{name}, " for name in names)
        zeros = [f"{', '.join(names)} = {', '.join('0' for _ in names)}"] if names else []
        unpacked = f"head, {tats}keep, nf, nr, q = U({self.format('account')}, v)"
        return [
            *self.local_lines(f"t{self.number['account']}_", len(names)),
            "if v then",
            "  local head",
            f"  if #v >= {self.least('account')} then {unpacked} end",
            f"  if head ~= {head} then",
            f"    v = relaid(v, {head}, {ids}, true)",
            f"    {unpacked}",
            "  end",
            "  keep = keep * 1000000",
            *(["else", *(f"  {line}" for line in zeros)] if zeros else []),
            "end",
        ]

    def latest(self) -> str:
        return ", ".join(["0", *self.variables("account")])
