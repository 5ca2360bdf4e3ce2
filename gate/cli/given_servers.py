"""Whether the servers that `up` is told to use answer, before anything is started that would wait for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gate.cli.addresses import Addresses, resolve_addresses
from gate.errors import StateUnreadable, StoreUnavailable, redact
from gate.local.system import accepts
from gate.records.kafka_address import read_kafka_address

WITHIN_S = 3.0
"""How long a server that starts at the same time may take."""
TRY_AGAIN_S = 0.2


def require_servers(redis: str | None, kafka: str | None) -> None:
    """Check the addresses of `--redis` and `--kafka`, where they are given.

    Raises SettingInvalid for one that no process could use, StoreUnavailable for one at which nothing answers.
    """
    addresses = resolve_addresses(redis=redis, kafka=kafka, environ={})
    if redis is not None:
        _require("Redis", lambda: _redis_trouble(addresses))
    if kafka is not None:
        brokers = read_kafka_address(kafka, "--kafka").servers.split(",")
        _require("Kafka", lambda: _kafka_trouble(addresses.kafka, brokers))


def _require(name: str, trouble: Callable[[], str | None]) -> None:
    option = f"--{name.lower()}"
    until_s = time.monotonic() + WITHIN_S
    while (problem := trouble()) is not None:
        if time.monotonic() > until_s:
            raise StoreUnavailable(
                f"nothing was started, as the {name} of {option} does not answer: {problem}",
                f"start it, correct the address, or leave {option} out: `up` then starts a {name} of its own",
            )
        time.sleep(TRY_AGAIN_S)


def _redis_trouble(addresses: Addresses) -> str | None:
    """Why a command cannot read the board, None if it can."""
    try:
        asyncio.run(_read_board(addresses))
    except StateUnreadable:
        return None  # it answers; a gate repairs what it holds
    except StoreUnavailable as error:
        return error.problem
    return None


def _kafka_trouble(address: str, brokers: list[str]) -> str | None:
    """Why no process can use this Kafka, None if one of its brokers answers.

    A broker that answers and refuses is left to the worker, which names the refused login or certificate.
    """
    if not any(map(accepts, brokers)):
        return f"nothing accepts connections at {redact(address)}"
    try:
        from gate.stores.kafka.topics import require_answer
    except ModuleNotFoundError:  # installed without the extra `kafka`: no process here connects to it
        return None
    try:
        asyncio.run(require_answer(address, WITHIN_S))
    except StoreUnavailable as error:
        if isinstance(error.__cause__, TimeoutError):
            return f"{error.problem.rstrip('.')}, though it accepts connections: {error.remedy}"
    return None


async def _read_board(addresses: Addresses) -> None:
    from gate.cli.board_access import operating

    async with operating(addresses) as operate:
        await operate.board()
