"""A gate among thousands: what the others say holds up none of its checks."""

from __future__ import annotations

import asyncio

from gate.ports.boards import LATELY_US, Acknowledgement
from gate.records.gate import encode_gate
from gate.stores.kafka.boards import KafkaBoardStore

MANY = 2_000


async def test_the_acknowledgements_of_many_gates_are_read_in_many_turns_of_the_loop() -> None:
    store = KafkaBoardStore("127.0.0.1:1", "controls")
    document = encode_gate(Acknowledgement("gate", "http://a", 1, 0))
    store._gates = {f"gate-{number} b": (document, 0) for number in range(MANY)}
    store._end = {}
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(turn())
    gates = await store.gates(LATELY_US)
    task.cancel()

    assert len(gates.acknowledgements) == MANY
    assert turns >= MANY // 100
