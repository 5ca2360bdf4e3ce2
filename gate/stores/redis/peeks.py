"""Peeks: reads what a take would read, and answers by the model in `gate.core.limits`. Nothing is written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from gate.core.limits.answer import answered
from gate.core.limits.gcra import LATEST_TAT_US, Flights, Tats, rooms
from gate.core.limits.reservation import Reservation
from gate.core.limits.take import Peek, TakeRequest, TakeResult
from gate.core.override import Override
from gate.core.score import risk_at
from gate.core.standing import UNKNOWN, Standing
from gate.errors import StateUnreadable
from gate.records.override import decode_stored_override, obeyed_override
from gate.records.score import decode_stored_risk
from gate.stores.redis import layout
from gate.stores.redis.apart import entity_prefix, further_requests, together
from gate.stores.redis.connect import AnyLine
from gate.stores.redis.take_batch import Batch


async def peek(line: AnyLine, prefix: str, request: TakeRequest, until_s: float) -> Peek:
    """What a take of `request` would answer, by the loop's time `until_s`. Raises StoreUnavailable."""
    account = request.account
    shared = frozenset(each.entity for each in request.class_limits.shared)
    entities = [each.entity for each in request.buckets]
    keys = [
        layout.account_key(prefix, account),
        layout.upload_key(prefix, account, request.upload_id),
        f"{prefix}score:{{{account}}}",
        f"{prefix}override:{{{account}}}",
        *_bucket_keys(prefix, entities, f"account:{{{account}}}", line.is_clustered),
    ]
    clock = asyncio.get_running_loop().time
    values: Sequence[bytes | None]
    if line.is_clustered:
        time = await line.execute(b"TIME", within_s=until_s - clock(), at=keys[0])
        values = await line.values(keys, until_s - clock())
    else:
        time, values = await line.pipeline([("", (b"TIME",)), ("", (b"MGET", *keys))], until_s - clock())
    seconds, microseconds = map(int, time)
    now_us = seconds * 1_000_000 + microseconds if request.now_us is None else request.now_us
    own, records = layout.read_buckets(values[0], account=True)
    buckets = [layout.read_buckets(value, line.is_clustered)[0] for value in values[4 : 4 + len(entities)]]
    flights = [layout.read_flights(value) for value in values[4 + len(entities) :]]
    tats: Tats = {}
    open_: Flights = {}
    for each, found, flying in zip(request.buckets, buckets, flights, strict=True):
        of_account = each.entity == f"account:{{{account}}}" and each.entity not in shared
        stored = own if of_account else found
        for limit in each.limits.limits:
            tats[each.entity, limit.name] = stored.get(limit.id, 0)
            debt_us = stored.get(limit.debt_id, 0)
            tats[each.entity, limit.debt_of(limit.name)] = debt_us if debt_us <= LATEST_TAT_US else 0
            open_[each.entity, limit.name] = flying.get(limit.id, [])
    name = layout.upload_name(account, request.upload_id).encode()
    record = layout.located(records, name) or (layout.located(values[1], name) if values[1] else None)
    standing = _standing(values[2], values[3], now_us).meeting(request.hot)
    room = rooms(tats, open_, request.buckets, now_us)
    result, _ = answered(request, standing, _known(record, request), tats, open_, now_us)
    if line.is_clustered:
        result = _with_parts(request, result, dict(zip(entities, values[4:], strict=False)))
    return Peek(result, room)


def _with_parts(request: TakeRequest, result: TakeResult, values: Mapping[str, bytes | None]) -> TakeResult:
    """The answer on a Cluster, where a part in another slot may repeat what it answered before. `values` are by entity.

    A part whose answer has a key of its own, as where dozens are kept of an entity, is judged anew.
    """
    own = request.class_limits.account
    by_account = result.refusal is not None and own is not None and result.refusal.limit in {n.name for n in own.limits}
    if by_account or not (result.charged or result.refusal):
        return result
    repeated: list[TakeResult] = []
    for _, part in further_requests(request, result):
        name = layout.upload_name(part.account, part.upload_id).encode()
        known = _known(layout.located(layout.read_buckets(values.get(part.account), account=True)[1], name), part)
        if known is not None and known.answers(result.now_us) and not (part.judges_anew and known.refusal):
            repeated.append(answered(part, UNKNOWN, known, {}, {}, result.now_us)[0])
    if not repeated:
        return result
    return together(request, result, repeated if result.charged else [result, *repeated])


def _bucket_keys(prefix: str, entities: Sequence[str], account: str, is_clustered: bool) -> list[str]:
    """The keys of the buckets of all entities, then those of what they have in flight."""
    if not is_clustered:
        return [*(f"{prefix}2b:{entity}" for entity in entities), *(f"{prefix}2f:{entity}" for entity in entities)]
    apart = entity_prefix(prefix)
    flights = [
        f"{prefix}2f:{entity}" if entity == account else f"{apart}2f:account:{{{entity}}}" for entity in entities
    ]
    return [*(layout.account_key(apart, entity) for entity in entities), *flights]


def _known(record: bytes | None, request: TakeRequest) -> Reservation | None:
    """The reservation, with the fingerprint of the request if that is what is stored, and none otherwise."""
    if record is None:
        return None
    try:
        stored = layout.fingerprint_in(record)
        is_same = stored in (Batch.fingerprint(request, {}), request.fingerprint.encode())
        return layout.read_answer(record, request.fingerprint if is_same else "")
    except StateUnreadable:
        return None


def _standing(score: bytes | None, override: bytes | None, now_us: int) -> Standing:
    staff = None if override is None else _override(override)
    if staff is not None and now_us >= staff.expires_at_us:
        staff = None
    try:
        known = None if score is None else decode_stored_risk(score)
    except StateUnreadable:
        known = None
    if known is None:
        return Standing(override=staff)
    risk = risk_at(known.risk, known.at_us, known.half_life_us, known.base, now_us)
    return Standing(risk, known.at_us, staff, known.half_life_us, known.base, now_us, known.acts)


def _override(value: bytes) -> Override:
    try:
        return decode_stored_override(value)
    except StateUnreadable:
        return obeyed_override(value)
