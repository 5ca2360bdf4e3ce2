"""Administers the topics of a Kafka cluster: creates missing ones, reads their ids, offsets and a group's progress."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    IncompatibleBrokerVersion,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from gate.errors import StoreUnavailable
from gate.records.topics import Topics
from gate.stores.kafka.client import closed, connected, finished
from gate.stores.kafka.connection import connection
from gate.stores.kafka.trouble import kafka_unavailable

DEADLINE_S = 15.0
ANSWERS_WITHIN_S = 3.5
"""How long a person waits to learn that no broker answers."""
LOOK_AT_IT = (
    "its process may be stopped or overloaded, or the network drops what it sends: look at the broker and at its log"
)
BROKERS_CHOICE = -1  # the cluster's own default number of replicas

_T = TypeVar("_T")


class TopicShape(NamedTuple):
    """A topic as a cluster describes it. `topic_id` is empty if the broker is too old to have one."""

    topic_id: str
    partitions: int


class Incarnation(NamedTuple):
    """Identifies a topic beyond its name, which a new topic can reuse. `topic_id` is empty on a broker without ids."""

    cluster: str
    topic_id: str


async def declare(bootstrap: str, topics: Topics) -> None:
    """Create those of `topics` that are missing, with their settings; existing ones stay as they are.

    A topic that a worker writes by partition of events gets as many partitions as the existing events topic.
    Raises StoreUnavailable if the cluster does not answer or refuses.
    """

    async def act() -> None:
        async with _admin(bootstrap) as admin:
            present = set(await admin.list_topics())
            if all(topic.name in present for topic in topics.all()):
                return
            fitting = topics
            if topics.events.name in present:
                (events,) = await admin.describe_topics([topics.events.name])
                fitting = replace(topics, partitions=max(1, len(events["partitions"])))
            missing = [topic for topic in fitting.all() if topic.name not in present]
            answer = await admin.create_topics([_new(t.name, t.partitions, t.config()) for t in missing])
            for name, code, *detail in answer.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    said = detail[0] if detail and detail[0] else error.__name__
                    raise StoreUnavailable(f"Kafka at {bootstrap} refuses to create topic {name}: {said}") from error(
                        name
                    )

    await _within(bootstrap, act)


def _new(name: str, partitions: int, config: dict[str, str]) -> Any:
    topic = NewTopic(name, partitions, 1, topic_configs=config)
    topic.replication_factor = BROKERS_CHOICE  # the constructor takes -1 for "see the assignments"
    return topic


async def incarnation(bootstrap: str, topic: str) -> Incarnation:
    """The ids of the cluster and the topic. Raises StoreUnavailable, also if the topic does not exist."""
    cluster, shape = await existing(bootstrap, topic, "Create it: `upload-gate up` does")
    return Incarnation(cluster, shape.topic_id)


async def cluster_id(bootstrap: str) -> str:
    """The cluster's id; empty where the broker is too old to tell. Raises StoreUnavailable."""
    return (await shapes(bootstrap, ()))[0]


async def existing(bootstrap: str, topic: str, remedy: str) -> tuple[str, TopicShape]:
    """The cluster's id and the topic's shape. Raises StoreUnavailable, with `remedy` if there is no such topic.

    Call it before reading or writing a topic: touching a missing one may make the broker create it with its own settings.
    """
    cluster, known = await shapes(bootstrap, (topic,))
    if topic not in known:
        raise StoreUnavailable(f"Kafka at {bootstrap} has no topic {topic}", remedy)
    return cluster, known[topic]


async def shapes(bootstrap: str, names: Iterable[str]) -> tuple[str, dict[str, TopicShape]]:
    """The cluster's id, and the shape of each topic of `names` that exists. Raises StoreUnavailable.

    A broker too old for topic ids gives no cluster id either.
    """
    wanted = list(names)

    async def act() -> tuple[str, dict[str, TopicShape]]:
        client = AIOKafkaClient(**connection(bootstrap))
        try:
            await finished(client.bootstrap())
            try:
                answer = await client.send(client.get_random_node(), _MetadataRequest(wanted))
            except (IncompatibleBrokerVersion, NotImplementedError):
                counts = Counter(at.topic for at in await _partitions(bootstrap, wanted))
                return "", {name: TopicShape("", count) for name, count in counts.items()}
            known = {
                name: TopicShape(topic_id, len(partitions))
                for code, name, topic_id, _, partitions, *_ in answer.topics
                if not code
            }
            return answer.cluster_id or "", known
        finally:
            await closed(client.close())

    return await _within(bootstrap, act)


async def group_offset(bootstrap: str, group: str, topic: str, partition: int) -> int | None:
    """The offset that `group` committed for a partition, None if it never did. Raises StoreUnavailable."""

    async def act() -> int | None:
        async with _admin(bootstrap) as admin:
            done = await _offsets(admin, group)
        at = TopicPartition(topic, partition)
        return done[at].offset if at in done and done[at].offset >= 0 else None

    return await _within(bootstrap, act)


async def require_answer(bootstrap: str, within_s: float = ANSWERS_WITHIN_S) -> None:
    """Return as soon as a broker of the cluster answers. Raises StoreUnavailable if none does within `within_s` seconds."""
    client = AIOKafkaClient(**connection(bootstrap), request_timeout_ms=max(1, round(within_s * 1000)))
    try:
        async with asyncio.timeout(within_s):
            await finished(client.bootstrap())  # a bootstrap that is cut off keeps its connection open
    except TimeoutError as error:
        raise StoreUnavailable(f"Kafka at {bootstrap} gave no answer within {within_s:g} s", LOOK_AT_IT) from error
    except (KafkaError, OSError) as error:
        raise kafka_unavailable(bootstrap, "does not answer", error) from error
    finally:
        await closed(client.close())


async def answers(bootstrap: str, deadline_s: float = 3.0) -> bool:
    """Whether any broker of the cluster answers now."""
    try:
        await require_answer(bootstrap, deadline_s)
    except StoreUnavailable:
        return False
    return True


async def end_offsets(bootstrap: str, names: Iterable[str]) -> dict[tuple[str, int], int]:
    """The offset after the last record of each (topic, partition) of topics `names`. Raises StoreUnavailable."""

    async def act() -> dict[tuple[str, int], int]:
        at = await _partitions(bootstrap, list(names))
        async with _consumer(bootstrap) as consumer:
            ends = await consumer.end_offsets(at) if at else {}
        return {(tp.topic, tp.partition): offset for tp, offset in ends.items()}

    return await _within(bootstrap, act)


async def lag(bootstrap: str, group: str, topics: Topics) -> int:
    """How many records of the events topic `group` has not committed yet, over all partitions.

    A group that never committed is behind by all records. Raises StoreUnavailable.
    """

    async def act() -> int:
        partitions = await _partitions(bootstrap, [topics.events.name])
        if not partitions:
            return 0
        async with _consumer(bootstrap) as consumer:
            ends = await consumer.end_offsets(partitions)
            begins = await consumer.beginning_offsets(partitions)
        async with _admin(bootstrap) as admin:
            done = await _offsets(admin, group)
        behind = 0
        for at in partitions:
            committed = done[at].offset if at in done and done[at].offset >= 0 else begins[at]
            behind += max(0, ends[at] - max(committed, begins[at]))
        return behind

    return await _within(bootstrap, act)


async def _offsets(admin: Any, group: str) -> Any:
    while True:
        try:
            return await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:  # for a moment on a new cluster, and after a broker died
            await asyncio.sleep(0.1)


async def _partitions(bootstrap: str, names: list[str]) -> list[TopicPartition]:
    async with _admin(bootstrap) as admin:
        present = set(await admin.list_topics())
        known = await admin.describe_topics([name for name in names if name in present])
    return [TopicPartition(topic["topic"], part["partition"]) for topic in known for part in topic["partitions"]]


async def _within(bootstrap: str, act: Callable[[], Awaitable[_T]]) -> _T:
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await act()
    except (KafkaError, OSError, TimeoutError) as error:
        raise kafka_unavailable(bootstrap, "does not answer", error) from error


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(**connection(bootstrap), request_timeout_ms=10_000)
    try:
        await connected(admin)
        yield admin
    finally:
        await closed(admin.close())


@asynccontextmanager
async def _consumer(bootstrap: str) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(**connection(bootstrap), enable_auto_commit=False)
    try:
        await connected(consumer)
        yield consumer
    finally:
        await closed(consumer.stop())


class _Uuid(AbstractType):  # type: ignore[misc]
    """A topic id of 16 bytes, decoded to text that is not the form of Kafka's tools. All zero means no id."""

    @classmethod
    def encode(cls, value: str) -> bytes:
        return uuid.UUID(value).bytes if value else bytes(16)

    @classmethod
    def decode(cls, data: Any) -> str:
        found = uuid.UUID(bytes=data.read(16))
        return found.hex if found.int else ""


class _MetadataResponse12(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequest12(RequestStruct):  # type: ignore[misc]
    """Metadata version 12, the first with topic ids. The client library has only older versions."""

    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse12
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequest12]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([("", topic, {}) for topic in self._topics], False, False, {})
