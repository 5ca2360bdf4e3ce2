"""Commands running workers to resume halted partitions, and waits for their answers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Set

from aiokafka.errors import KafkaError

from gate.errors import SettingInvalid, StoreUnavailable
from gate.records.topics import Topics
from gate.stores.kafka.topics import end_offsets
from gate.stores.kafka.trouble import kafka_unavailable
from streams.worker.control_records import ResumeAnswer, ResumeCommand, ResumeOutcome, decode_control
from streams.worker.controls import send_control
from streams.worker.follow import TopicFollower

ANSWERS_WITHIN_S = 30.0
POLL_MS = 200


async def resume(
    bootstrap: str, topics: Topics, partition: int | None, drains: bool, within_s: float = ANSWERS_WITHIN_S
) -> list[ResumeAnswer]:
    """One answer for each wanted partition, in order. A partition without an owner has the outcome NO_WORKER.

    Raises StoreUnavailable; SettingInvalid for a partition that the events topic does not have.
    """
    wanted = await _wanted(bootstrap, topics, partition)
    command = ResumeCommand(uuid.uuid4().hex, partition=partition, drains=drains)
    try:
        async with TopicFollower(bootstrap, topics.controls.name, None) as follower:
            await send_control(bootstrap, topics.controls, command)
            answers = await _answers(follower, command.id, wanted, within_s)
    except (KafkaError, KeyError, OSError, TimeoutError) as error:
        raise kafka_unavailable(bootstrap, "does not answer", error) from error
    return [answers.get(n) or ResumeAnswer(command.id, n, ResumeOutcome.NO_WORKER) for n in sorted(wanted)]


async def _wanted(bootstrap: str, topics: Topics, partition: int | None) -> Set[int]:
    ends = await end_offsets(bootstrap, [topics.events.name, topics.controls.name])
    numbers = {number for topic, number in ends if topic == topics.events.name}
    if not numbers or (topics.controls.name, 0) not in ends:
        raise StoreUnavailable(
            f"Kafka at {bootstrap} has no topic {topics.controls.name if numbers else topics.events.name}",
            "A worker creates it when it starts: start one of this release",
        )
    if partition is None:
        return numbers
    if partition not in numbers:
        raise SettingInvalid(
            f"the topic {topics.events.name} has no partition {partition}", f"It has 0 to {max(numbers)}"
        )
    return {partition}


async def _answers(follower: TopicFollower, id_: str, wanted: Set[int], within_s: float) -> dict[int, ResumeAnswer]:
    answers: dict[int, ResumeAnswer] = {}
    try:
        async with asyncio.timeout(within_s):
            while wanted - answers.keys():
                for record in await follower.next(POLL_MS):
                    answer = decode_control(record.value)
                    if isinstance(answer, ResumeAnswer) and answer.id == id_ and answer.partition in wanted:
                        answers[answer.partition] = answer
    except TimeoutError:
        pass
    return answers
