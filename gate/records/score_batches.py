"""Writes the scores of a batch as `gate.records.score` writes one, at less cost: neighbours have most parts in common."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from gate.core.score import Reason, Score
from gate.ports.scores import EncodedScore
from gate.records.score import VERSION, pack_head, reason_document, rounded, sections_of, with_bytes
from gate.records.times import time_of

_encode = msgspec.json.Encoder().encode

Common = tuple[int, str, int, int, int, str, int, float, bool, str]
"""What a worker gives all scores of a batch, but that accounts of other partitions have another stamp."""


def with_bytes_each(scores: Iterable[Score], are_of_one_call: bool = False) -> list[EncodedScore]:
    """`with_bytes` of each score, in their order. Takes each only when the one before is written.

    `are_of_one_call` says that a scorecard made all of them in one call, with stamps that differ in their offsets and in
    `partitions` only.
    """
    made = tuple.__new__  # a named tuple's own constructor takes twice as long
    encode = _encode
    encoded: list[EncodedScore] = []
    last_second, second = 0, _second(0)
    last_risks, risk = (0.0, 0.0, 0.0), _risk(0.0, 0.0, 0.0)
    last: Common | None = None
    before = after = ""
    partitions = None
    for score in scores:
        stamp = score.stamp
        if stamp.partitions != partitions:
            if not stamp.generation or score.extra or score.shadow is not None:  # not as a worker usually makes it
                encoded.append(with_bytes(score))
                continue
            common = (
                score.scored_at_us, stamp.epoch, stamp.partition, stamp.partitions, stamp.generation,
                score.scorecard, score.half_life_us, score.base, score.acts, score.models,
            )  # fmt: skip
            if common != last:
                last, (before, after) = common, _around_offset(common)
            partitions = stamp.partitions if are_of_one_call else None
        at_second, fraction = divmod(score.at_us, 1_000_000)
        if at_second != last_second:
            last_second, second = at_second, _second(at_second)
        risks = score.bot, score.scam, score.risk
        if risks != last_risks:
            last_risks, risk = risks, _risk(*risks)
        reasons = ",".join(map(_reason, score.reasons)) if score.reasons else ""
        parts_of_second = f'{second}.{fraction:06d}Z"' if fraction else f'{second}Z"'
        data = (
            f'{{"account":{encode(score.account).decode()},{risk},"reasons":[{reasons}],'
            f'"at":{parts_of_second},{before}{stamp.offset},{after}'
        ).encode()
        encoded.append(made(EncodedScore, (score, data)))
    return encoded


def stored_each(scored: Iterable[EncodedScore]) -> list[bytes]:
    """`stored_score` of each score, in their order."""
    values: list[bytes] = []
    last: tuple[object, ...] | None = None
    length, sections = 0, b""
    for score, data in scored:
        stamp = score.stamp
        common = (
            stamp.epoch, stamp.generation, stamp.partitions, stamp.partition,
            score.half_life_us, score.base, score.acts,
        )  # fmt: skip
        if common != last:
            last, (length, sections) = common, sections_of(*common)
        risk = round(score.risk * 1_000_000) / 1_000_000
        values.append(pack_head(risk, score.at_us, stamp.offset, length) + sections + data)
    return values


def _json(value: object) -> str:
    return _encode(value).decode()


@lru_cache(maxsize=64)
def _around_offset(common: Common) -> tuple[str, str]:
    """The document between the time of the evidence and the stamp's offset, and all behind that."""
    scored_at_us, epoch, partition, partitions, generation, scorecard, half_life_us, base, acts, models = common
    decay = f',"half_life":{_json(half_life_us / 1_000_000)},"base":{_json(rounded(base))}' if half_life_us else ""
    late = "" if acts else ',"acts":false'
    made_of = f',"models":{_json(models)}' if models else ""
    return (
        f'"scored_at":{_json(time_of(scored_at_us))},"stamp":{{"epoch":{_json(epoch)},"offset":',
        f'"partition":{partition},"partitions":{partitions},"generation":{generation}}},'
        f'"scorecard":{_json(scorecard)},"version":{VERSION}{decay}{late}{made_of}}}',
    )


@lru_cache(maxsize=4096)
def _risk(bot: float, scam: float, risk: float) -> str:
    return f'"bot":{_json(rounded(bot))},"scam":{_json(rounded(scam))},"risk":{_json(rounded(risk))}'


@lru_cache(maxsize=4096)
def _reason(reason: Reason) -> str:
    return _json(reason_document(reason))


@lru_cache(maxsize=1024)
def _second(second: int) -> str:
    """A time as it is written, up to the fraction of its second."""
    return _json(time_of(second * 1_000_000))[:-2]
