"""`worker`: becomes one stream worker, with the addresses and the salt that the command finds."""

from __future__ import annotations

import os
import sys

from gate.cli.addresses import DEFAULT_PORT, KafkaFlag, RedisFlag, StateFlag, resolve_addresses, salt_of_up
from gate.cli.output import say
from streams.cli.libraries import require_streams


def worker(state: StateFlag = None, redis: RedisFlag = None, kafka: KafkaFlag = None) -> None:
    """Run one stream worker: it reads events from Kafka and writes scores to Kafka and Redis.

    Where Kafka is named (--kafka, UPLOAD_GATE_KAFKA) and no Redis is, it writes them to Kafka alone.

    Example: upload-gate worker --kafka 10.0.0.6:9092 --redis redis://10.0.0.5:6379/0
    """
    require_streams()
    addresses = resolve_addresses(state, redis=redis, kafka=kafka)
    named = {"STATE": str(addresses.state), "KAFKA": addresses.kafka}
    is_guess = addresses.origin["kafka"] != DEFAULT_PORT and addresses.origin.get("redis") == DEFAULT_PORT
    if "redis" in addresses.known and not is_guess:
        named["REDIS"] = addresses.redis
    else:
        say("no Redis is named (--redis, UPLOAD_GATE_REDIS): scores go to Kafka alone, and no gate decides by them")
    if addresses.group is not None:
        named["GROUP"] = addresses.group
    salt = salt_of_up(addresses.state, "kafka", addresses.kafka)
    if salt is not None and not os.environ.get("UPLOAD_GATE_SALT"):
        named["SALT"] = salt
    environment = {**os.environ, **{f"UPLOAD_GATE_{name}": value for name, value in named.items()}}
    # replaces this process, so that signals reach the worker directly
    os.execve(sys.executable, [sys.executable, "-m", "streams.worker"], environment)
