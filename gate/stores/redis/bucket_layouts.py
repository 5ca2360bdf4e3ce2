"""How the buckets of each kind of entity lie in its value, and the Lua that reads an account.

All limits on one subject that any class has share a layout, so that a class that lacks one leaves its TAT alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gate.core.limits.limit import EntityLimits, Limit
from gate.core.limits.take import ClassLimits
from gate.stores.redis.layout import account_header, header

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
        if any(len(ids) > 60 for ids in self.limits.values()):
            raise ValueError("a policy has at most 60 limits on one subject")

    def constants(self) -> list[str]:
        lines = []
        for subject, ids in self.limits.items():
            n, more = self.number[subject], "I4BB" if subject == "account" else ""
            head = account_header(ids) if subject == "account" else header(ids)
            lines.append(f"local I{n} = {{{', '.join(map(quoted, ids))}}}")
            lines.append(f"local H{n}, F{n} = {quoted(head)}, '<{'d' * len(ids)}{more}'")
        return lines

    def variables(self, subject: str) -> list[str]:
        """The TATs of a subject in its layout."""
        return [f"t{self.number[subject]}_{n}" for n in range(len(self.limits[subject]))]

    def variable(self, subject: str, limit: Limit) -> str:
        return f"t{self.number[subject]}_{self.limits[subject].index(limit.id)}"

    def least(self, subject: str) -> int:
        return 1 + 12 * len(self.limits[subject]) + (6 if subject == "account" else 0)

    def head_length(self, subject: str) -> int:
        return 1 + 4 * len(self.limits[subject])

    def read_account(self) -> list[str]:
        names, n = self.variables("account"), self.number["account"]
        tats = "".join(f"{name}, " for name in names)
        zeros = [f"{', '.join(names)} = {', '.join('0' for _ in names)}"] if names else []
        test = f"#v < {self.least('account')} or find(v, H{n}, 1, true) ~= 1"
        return [
            *([f"local {', '.join(names)}"] if names else []),
            "if v then",
            f"  if {test} then v = relaid(v, H{n}, I{n}, true) end",
            f"  {tats}keep, nf, nr, q = U(F{n}, v, {1 + self.head_length('account')})",
            "  keep = keep * 1000000",
            *(["else", *(f"  {line}" for line in zeros)] if zeros else []),
            "end",
        ]

    def latest(self) -> str:
        return ", ".join(["0", *self.variables("account")])
