"""`keeper`: writes back to Redis what a failover has lost of the pauses, where the gates' user may only read them."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial

import typer

from gate.cli.addresses import Addresses, AdminFlag, KafkaFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.board_access import board_of_gate, kafka_board, redis_board
from gate.cli.output import say
from gate.errors import redact


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="keeper")(keeper)


def keeper(state: StateFlag = None, redis: RedisFlag = None, kafka: KafkaFlag = None, admin: AdminFlag = None) -> None:
    """Write back pauses that Redis or Kafka has lost, until a signal ends the command.

    Run it where gates may only read the pauses in Redis (user `gate` of deploy/redis/users.acl). After a failover or a
    restore it writes back the lost pauses, from Kafka and from its own memory, and repairs entries that cannot be read. With
    --admin it also reads the pauses that the gate on its host obeys, which replaces Kafka. Several may run at once.

    Example: upload-gate keeper --redis redis://keeper:PASSWORD@10.0.0.5:6379/0 --kafka 10.0.0.6:9092
    """
    asyncio.run(_keep(resolve_addresses(state, redis=redis, kafka=kafka), admin))


async def _keep(addresses: Addresses, admin: str | None) -> None:
    from gate.app.keep_board import KeepBoard

    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(redis_board(addresses))
        kafka = await stack.enter_async_context(kafka_board(addresses)) if addresses.both_channels else None
        channels = f"Redis at {addresses.shown('redis')}"
        channels += f" and Kafka at {addresses.shown('kafka')}" if kafka is not None else ", without Kafka"
        gate = None if admin is None else partial(board_of_gate, admin.rstrip("/"))
        channels += "" if admin is None else f", with what the gate at {redact(admin)} obeys"
        say(f"keeping the pauses in {channels}")
        keeping = asyncio.create_task(KeepBoard(redis, kafka, say, gate=gate).run(), name="keeper")
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, keeping.cancel)
        await asyncio.wait((keeping,))
        if not keeping.cancelled():
            keeping.result()  # raises the keeper's own error, if no signal ended it
