"""Whether the servers that `up` is told to use answer, before anything is started that would wait for them."""

from __future__ import annotations

import asyncio
import time

from gate.cli.addresses import Addresses, resolve_addresses
from gate.errors import StateUnreadable, StoreUnavailable

WITHIN_S = 3.0
"""How long a server that starts at the same time may take."""
TRY_AGAIN_S = 0.2


def require_servers(redis: str | None, kafka: str | None) -> None:
    """Check the addresses of `--redis` and `--kafka`, where they are given.

    Raises SettingInvalid for one that no process could use, StoreUnavailable for one at which nothing answers.
    """
    addresses = resolve_addresses(redis=redis, kafka=kafka, environ={})
    if redis is not None:
        _require_redis(addresses)
    if kafka is not None:
        _require_kafka(kafka)


def _require_redis(addresses: Addresses) -> None:
    until_s = time.monotonic() + WITHIN_S
    while True:
        try:
            asyncio.run(_read(addresses))
        except StateUnreadable:
            return  # it answers; a gate repairs what it holds
        except StoreUnavailable as error:
            if time.monotonic() > until_s:
                raise StoreUnavailable(
                    f"nothing was started, as the Redis of --redis does not answer: {error.problem}",
                    "start it, correct the address, or leave --redis out: `up` then starts a Redis of its own",
                ) from error
            time.sleep(TRY_AGAIN_S)
        else:
            return


async def _read(addresses: Addresses) -> None:
    from gate.cli.board_access import operating

    async with operating(addresses) as operate:
        await operate.board()


def _require_kafka(kafka: str) -> None:
    from gate.local.system import accepts
    from gate.records.kafka_address import read_kafka_address

    brokers = read_kafka_address(kafka, "--kafka").servers.split(",")
    until_s = time.monotonic() + WITHIN_S
    while not any(accepts(broker) for broker in brokers):
        if time.monotonic() > until_s:
            raise StoreUnavailable(
                f"nothing was started, as the Kafka of --kafka does not answer: nothing accepts connections at {kafka}",
                "start it, correct the address, or leave --kafka out: `up` then starts a Kafka of its own",
            )
        time.sleep(TRY_AGAIN_S)
