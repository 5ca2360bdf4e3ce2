"""Compares the settings of a cluster's topics with the needed ones, and prints the commands that correct them.

Too few partitions cannot work and are an error. Other wrong settings lose or misjudge data sooner or later, so they
are reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from gate.errors import StoreUnavailable, TopicUnfit
from gate.records.kafka_address import for_kafka_tools
from gate.records.topics import Topic, Topics
from gate.stores.kafka.client import closed, connected
from gate.stores.kafka.connection import connection
from gate.stores.kafka.topics import TopicShape, shapes
from gate.stores.kafka.trouble import kafka_unavailable

AT_LEAST = frozenset({"retention.ms", "max.message.bytes"})
"""Settings of which a larger value is fine as well; -1 means unlimited."""
COMPARED = AT_LEAST | {"cleanup.policy", "message.timestamp.type"}
"""Settings that decide which records are kept, or what a record's time means. Other settings are not compared."""


async def require_partitions(bootstrap: str, topics: Topics) -> int:
    """The number of partitions of the events topic. Raises TopicUnfit if a topic that needs as many has fewer, and
    StoreUnavailable."""
    _, known = await shapes(bootstrap, [topics.events.name, *(topic.name for topic in topics.of_worker())])
    return compare_partitions(bootstrap, topics, known)


def compare_partitions(bootstrap: str, topics: Topics, known: Mapping[str, TopicShape]) -> int:
    """The same for topics with the shapes `known`. A topic that does not exist is not an error here."""
    if topics.events.name not in known:
        raise StoreUnavailable(f"Kafka at {bootstrap} has no topic {topics.events.name}")
    needed = known[topics.events.name].partitions
    short = [t.name for t in topics.of_worker() if t.name in known and known[t.name].partitions < needed]
    if short:
        counts = ", ".join(f"{name} has {known[name].partitions}" for name in short)
        commands = " && ".join(
            f"kafka-topics.sh {for_kafka_tools(bootstrap)} --alter --topic {name} --partitions {needed}"
            for name in short
        )
        raise TopicUnfit(f"{topics.events.name} has {needed} partitions, but {counts}", f"Type: {commands}")
    return needed


async def unlike(bootstrap: str, topics: Topics) -> list[str]:
    """The difference and the correcting command of each topic with wrong settings. Raises StoreUnavailable."""
    wanted = {topic.name: topic for topic in topics.all()}
    found = await _configs(bootstrap, list(wanted))
    return [
        said
        for name, config in found.items()
        if (said := difference(bootstrap, wanted[name], config)) is not None
    ]  # fmt: skip


def difference(bootstrap: str, topic: Topic, config: Mapping[str, str]) -> str | None:
    """How `config` differs from the settings that `topic` needs, and the correcting command; None if it does not."""
    differs = {
        name: value
        for name, value in topic.config().items()
        if name in COMPARED and name in config and not _suffices(name, config[name], value)
    }
    if not differs:
        return None
    is_now = ", ".join(f"{name}={config[name]}" for name in differs)
    settings = ",".join(f"{name}=[{value}]" if "," in value else f"{name}={value}" for name, value in differs.items())
    return (
        f"topic {topic.name} has {is_now}. Type: kafka-configs.sh {for_kafka_tools(bootstrap)} --alter "
        f"--entity-type topics --entity-name {topic.name} --add-config {settings}"
    )


def _suffices(name: str, is_now: str, needed: str) -> bool:
    if name in AT_LEAST and is_now.lstrip("-").isdecimal():
        return int(is_now) == -1 or (needed != "-1" and int(is_now) >= int(needed))
    return set(is_now.replace(" ", "").split(",")) == set(needed.split(","))


async def _configs(bootstrap: str, names: list[str]) -> dict[str, dict[str, str]]:
    """The settings in force of each topic of `names` that exists and may be read."""
    admin: Any = AIOKafkaAdminClient(**connection(bootstrap), request_timeout_ms=10_000)
    try:
        await connected(admin)
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    except (KafkaError, OSError, TimeoutError) as error:
        raise kafka_unavailable(bootstrap, "does not return its topics' settings", error) from error
    finally:
        await closed(admin.close())
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for answer in answers
        for code, _, _, name, entries in answer.resources
        if not code
    }
