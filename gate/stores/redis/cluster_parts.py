"""How one check is cut into parts for a Cluster, where a script reaches the keys of one slot only.

The first part is the account's: score, override and the account's limits. Then follows a part for each network, device, class or
platform that the check takes from. Each of these has a slot of its own, and keeps there what an account keeps: buckets and
reservations, under the prefix `{prefix}e:` and with its name in the place of the account's. So a repeated part spends nothing,
and a report gives back each part once. A check is let in if all parts take; otherwise those that took are given back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from dataclasses import replace as copy_with
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from msgspec.structs import replace

from gate.core.limits.limit import EntityLimits, Limit, Room
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult

OWN: Final = "account"


@dataclass(frozen=True, slots=True)
class EntityPart:
    """The limits of one kind of entity. `lenient` refuses nobody, for accounts that an override lets in."""

    kind: str
    limits: ClassLimits
    lenient: ClassLimits


@dataclass(frozen=True, slots=True)
class ClassParts:
    """The limits of a class, cut by slot. The kind of a shared part is the name of its entity."""

    own: ClassLimits
    ip: EntityPart | None
    device: EntityPart | None
    shared: tuple[EntityPart, ...]

    @property
    def others(self) -> tuple[EntityPart, ...]:
        """The parts beside the account's."""
        return (*(part for part in (self.ip, self.device) if part is not None), *self.shared)


def entity_prefix(prefix: str) -> str:
    """The prefix of the keys of networks, devices, classes and the platform on a Cluster."""
    return f"{prefix}e:"


def parts_key(prefix: str, class_: str) -> str:
    """The set of the kinds of parts that uploads with the limits of a class have."""
    return f"{prefix}2parts:{class_}"


def upload_of(account: str, upload_id: str) -> str:
    """The name of an account's upload among the uploads of all accounts."""
    return blake2b(f"{len(account)}:{account}{upload_id}".encode(), digest_size=12).hexdigest()


@lru_cache(maxsize=4_096)
def parts_of(limits: ClassLimits) -> ClassParts:
    """The parts of a class."""
    own = ClassLimits(
        limits.account, None, None, (), limits.refuse_at, limits.max_score_age_us, limits.lifetime_us,
        limits.returns, limits.name, leased=limits.leased,
    )  # fmt: skip
    shared: dict[str, tuple[Limit, ...]] = {}
    for each in limits.shared:
        shared[each.entity] = (*shared.get(each.entity, ()), *each.limits.limits)
    return ClassParts(
        own,
        None if limits.ip is None else _part("ip", limits.ip.limits, limits),
        None if limits.device is None else _part("device", limits.device.limits, limits),
        tuple(_part(entity, some, limits) for entity, some in shared.items()),
    )


def _part(kind: str, limits: tuple[Limit, ...], of: ClassLimits) -> EntityPart:
    shadows = tuple(copy_with(each, shadow=True) for each in limits)
    strict, lenient = (
        ClassLimits(EntityLimits(some), None, None, (), None, 0, of.lifetime_us, of.returns, of.name)
        for some in (limits, shadows)
    )
    return EntityPart(kind, strict, lenient)


def own_request(request: TakeRequest) -> TakeRequest:
    """The account's part of a check."""
    return replace(request, class_limits=parts_of(request.class_limits).own)


def further_requests(request: TakeRequest, own: TakeResult) -> list[tuple[str, TakeRequest]]:
    """The other parts of a check whose account's part was answered so, each with its kind.

    They know no override: a part refuses nobody whom staff let in, and repeats no refusal from before staff changed the limits.
    """
    lenient = own.standing.override_in_force(own.now_us) is not None
    judges_anew = lenient or own.standing.limits_of(own.now_us) is not None
    parts = parts_of(request.class_limits)
    named = [(part, part.kind) for part in parts.shared]
    if parts.device is not None and request.device is not None:
        named.insert(0, (parts.device, f"device:{request.device}"))
    if parts.ip is not None and request.ip is not None:
        named.insert(0, (parts.ip, f"ip:{request.ip}"))
    upload = upload_of(request.account, request.upload_id) if named else ""
    return [
        (
            part.kind,
            TakeRequest(
                entity,
                upload,
                part.lenient if lenient else part.limits,
                size=request.size,
                now_us=request.now_us,
                attempt=request.attempt,
                keep_limits=True,
                judges_anew=judges_anew,
            ),
        )
        for part, entity in named
    ]


def further_entities(kinds: Collection[str], fingerprint: str) -> list[str]:
    """The entities of these kinds that an upload of this fingerprint may have taken from."""
    *_, ip, device = fingerprint.split("\n")
    own = {"ip": ip, "device": device}
    return [f"{kind}:{own[kind]}" if kind in own else kind for kind in sorted(kinds) if own.get(kind, kind)]


def together(request: TakeRequest, own: TakeResult, others: Sequence[TakeResult]) -> TakeResult:
    """The answer to a check whose account's part took, from the answers to all parts.

    Where an override lets the account in, a part takes what fits.
    """
    lets_in = own.standing.override_in_force(own.now_us) is not None
    if any(each.conflict for each in others) and not lets_in:
        return TakeResult(own.standing, False, False, None, (), own.now_us, conflict=True)
    shadows = {limit.name for each in request.class_limits.entity_limits for limit in each.limits if limit.shadow}
    shadow = (*own.shadow, *(name for each in others for name in each.shadow if name in shadows))
    refusals = [each.refusal for each in others if each.refusal is not None and not lets_in]
    if refusals:
        refusal = max(refusals, key=lambda each: float("inf") if each.retry_after_us is None else each.retry_after_us)
        return replace(own, charged=False, repeated=False, refusal=refusal, shadow=shadow, room=None)
    rooms = [(own.room, own.now_us), *((each.room, each.now_us) for each in others)]
    found = [(_share(room, now_us), n) for n, (room, now_us) in enumerate(rooms) if room is not None]
    if not found or own.repeated:
        return replace(own, shadow=shadow)
    room, now_us = rooms[min(found)[1]]
    assert room is not None
    room = replace(room, full_at_us=room.full_at_us - now_us + own.now_us)  # each slot has the clock of its server
    return replace(own, shadow=shadow, room=room)


def _share(room: Room, now_us: int) -> float:
    tolerance_us = room.limit.tolerance_us or 1
    return (now_us + tolerance_us - room.full_at_us) / tolerance_us
