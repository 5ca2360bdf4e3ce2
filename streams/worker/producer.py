"""The producer of a partition's owner: transactional, fenced by its id, and done for after an unknown result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ConcurrentTransactions, KafkaError, NodeNotReadyError
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
    TxnOffsetCommitRequest,
)

from gate.errors import UploadGateError
from gate.stores.kafka.connection import connection

TRANSACTION_TIMEOUT_MS = 15_000  # how long a frozen worker's half transaction can hold up readers
REQUEST_TIMEOUT_MS = 10_000
SENT_ONCE = (AddPartitionsToTxnRequest, AddOffsetsToTxnRequest, TxnOffsetCommitRequest, EndTxnRequest)
"""Requests that steer a transaction. They say which producer they come from, and not which transaction they mean."""


class ResultUnknown(UploadGateError):
    """The answer to a request that steers a transaction was lost. Only a new producer can find out what it did."""


class TransactionUnended(UploadGateError):
    """The last transaction of the transactional id does not end, so no producer of that id can start.

    A broker writes a marker to each partition of a transaction that ends. It tries again where a partition has no leader, but
    gives up, until it starts again, where the topic's max.message.bytes is below the size of a marker.
    """


def transactional_producer(bootstrap: str, transactional_id: str) -> Any:
    """A producer that is not started yet. Its start makes the broker refuse every earlier one of the same id."""
    producer = AIOKafkaProducer(
        **connection(bootstrap),
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_batch_size=1 << 20,
        max_request_size=4 << 20,
    )
    _send_once(producer)
    _report_once(producer)
    return producer


def _send_once(producer: Any) -> None:
    """Make `producer` fail for good where it would send a request of `SENT_ONCE` again because its answer was lost.

    The first copy may reach the broker late, even after its connection was closed, and then it would act on whichever
    transaction the producer has open: a late commit makes half of that one visible. The requests of a failed
    producer are harmless, because the next one of the transactional id raises the epoch before anything else is sent.
    """
    send = producer.client.send

    async def once(node: int, request: Any, **options: Any) -> Any:
        try:
            answer = await send(node, request, **options)
            if isinstance(request, InitProducerIdRequest):
                producer.waits_for_transaction = answer.error_code == ConcurrentTransactions.errno
            return answer
        except NodeNotReadyError:
            raise  # there was no connection to send it on
        except KafkaError as error:
            if isinstance(request, SENT_ONCE):  # not as KafkaError, after which the client sends it again
                raise ResultUnknown(f"no answer to a request of a transaction: {error!r}") from error
            raise

    producer.client.send = once


def waits_for_transaction(producer: Any) -> bool:
    """Whether a producer has not started because the last transaction of its id has not ended."""
    waits: bool = getattr(producer, "waits_for_transaction", False)
    return waits


def _report_once(producer: Any) -> None:
    """Make `producer` keep the error of a transaction for whoever still asks, without a second report in the log.

    The write that failed has raised it already. asyncio would log it again, with a traceback, whenever the collector
    comes by the future that waits for the end of the transaction.
    """
    manager = producer._txn_manager

    def retrieving(end: Callable[[Exception], None]) -> Callable[[Exception], None]:
        def ended(error: Exception) -> None:
            producer.first_error = first_error(producer) or error
            end(error)
            manager.wait_for_transaction_end().exception()

        return ended

    manager.error_transaction = retrieving(manager.error_transaction)
    manager.fatal_error = retrieving(manager.fatal_error)


def first_error(producer: Any) -> Exception | None:
    """The error by which a transaction of `producer` failed, None if none has. Calls after it say only that there is no
    transaction."""
    error: Exception | None = getattr(producer, "first_error", None)
    return error
