"""Peeks: reads what a take would read, and answers by the model in `gate.core.limits`. Nothing is written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gate.core.limits.answer import answered
from gate.core.limits.gcra import LATEST_TAT_US, Flights, Tats, rooms
from gate.core.limits.limit import EntityBuckets
from gate.core.limits.reservation import Reservation
from gate.core.limits.take import Peek, TakeRequest, TakeResult
from gate.core.score import risk_at
from gate.core.standing import UNKNOWN, Standing
from gate.errors import StateUnreadable
from gate.records.override import read_stored_override
from gate.records.score import decode_stored_risk
from gate.stores.redis import layout
from gate.stores.redis.account_keys import in_key, override_key, score_key
from gate.stores.redis.cluster_parts import entity_prefix, further_requests, own_request, together, upload_of
from gate.stores.redis.connections.connect import AnyLine
from gate.stores.redis.take_batch import Batch


class StoredLimits(NamedTuple):
    """The TATs of an entity, debts included, and when what it has in flight ends, both by limit id."""

    tats: Mapping[bytes, int]
    flights: Mapping[bytes, Sequence[int]]


async def peek(line: AnyLine, prefix: str, request: TakeRequest, until_s: float) -> Peek:
    """What a take of `request` would answer, by the loop's time `until_s`. Raises StoreUnavailable."""
    account = request.account
    shared = frozenset(each.entity for each in request.class_limits.shared)
    entities = [each.entity for each in request.buckets]
    others = [each for each in entities if each != f"account:{{{account}}}"] if line.is_clustered else []
    upload, apart = upload_of(account, request.upload_id), entity_prefix(prefix)
    keys = [
        layout.account_key(prefix, account),
        layout.upload_key(prefix, account, request.upload_id),
        score_key(prefix, account),
        override_key(prefix, account),
        *_bucket_keys(prefix, entities, account, line.is_clustered),
        *(layout.upload_key(apart, entity, upload) for entity in others),
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
    buckets = dict(zip(entities, values[4 : 4 + len(entities)], strict=True))
    flights = dict(zip(entities, values[4 + len(entities) : 4 + 2 * len(entities)], strict=True))
    stored: dict[str, StoredLimits] = {}
    for entity in entities:
        is_own = entity == f"account:{{{account}}}" and entity not in shared
        tats = own if is_own else layout.read_buckets(buckets[entity], line.is_clustered)[0]
        stored[entity] = StoredLimits(tats, layout.read_flights(flights[entity]))
    name = layout.upload_name(account, request.upload_id).encode()
    record = layout.located(records, name) or (layout.located(values[1], name) if values[1] else None)
    standing = _standing(values[2], values[3], now_us).meeting(request.hot)
    room = rooms(*_numbers(request.buckets, stored), request.buckets, now_us)
    known = _known(record, request)
    if line.is_clustered:
        uploads = dict(zip(others, values[4 + 2 * len(entities) :], strict=True))
        return Peek(_over_slots(request, standing, known, stored, buckets, uploads, now_us), room)
    result, _ = answered(request, standing, known, *_numbers(request.buckets, stored), now_us)
    return Peek(result, room)


def _over_slots(
    request: TakeRequest,
    standing: Standing,
    known: Reservation | None,
    stored: Mapping[str, StoredLimits],
    values: Mapping[str, bytes | None],
    uploads: Mapping[str, bytes | None],
    now_us: int,
) -> TakeResult:
    """The answer on a Cluster: that of the account's part and then, if it takes, those of the others, as `cluster_takes` asks
    them. `values` are those of the buckets, by entity, and `uploads` those of the upload's own keys, where an entity keeps what
    its value has no room for.
    """
    part = own_request(request)
    own, _ = answered(part, standing, known, *_numbers(part.buckets, stored), now_us)
    if not own.charged:
        return own
    others: list[TakeResult] = []
    for _, part in further_requests(request, own):
        entity = part.account
        records = layout.read_buckets(values[entity], account=True)[1]
        name, own_value = layout.upload_name(entity, part.upload_id).encode(), uploads[entity]
        record = layout.located(records, name) or (layout.located(own_value, name) if own_value else None)
        numbers = _numbers(part.buckets, {each.entity: stored[entity] for each in part.buckets})
        others.append(answered(part, UNKNOWN, _known(record, part), *numbers, now_us)[0])
    return together(request, own, others)


def _numbers(buckets: Sequence[EntityBuckets], stored: Mapping[str, StoredLimits]) -> tuple[Tats, Flights]:
    """What is stored of these buckets, as the model reads it."""
    tats: Tats = {}
    open_: Flights = {}
    for each in buckets:
        found = stored[each.entity]
        for limit in each.limits.limits:
            tats[each.entity, limit.name] = found.tats.get(limit.id, 0)
            debt_us = found.tats.get(limit.debt_id, 0)
            tats[each.entity, limit.debt_of(limit.name)] = debt_us if debt_us <= LATEST_TAT_US else 0
            open_[each.entity, limit.name] = list(found.flights.get(limit.id, ()))
    return tats, open_


def _bucket_keys(prefix: str, entities: Sequence[str], account: str, is_clustered: bool) -> list[str]:
    """The keys of the buckets of all entities, then those of what they have in flight."""
    own, in_flight = f"account:{{{account}}}", f"{prefix}2f:account:{{{in_key(account)}}}"
    if not is_clustered:
        flights = [in_flight if entity == own else f"{prefix}2f:{entity}" for entity in entities]
        return [*(f"{prefix}2b:{entity}" for entity in entities), *flights]
    apart = entity_prefix(prefix)
    flights = [in_flight if entity == own else f"{apart}2f:account:{{{entity}}}" for entity in entities]
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
    staff = None if override is None else read_stored_override(override)[0]
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
