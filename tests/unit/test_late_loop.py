"""A busy process reads an answer late that came in time, and takes longer to connect: neither says that Redis is away."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvloop

from gate.stores.redis.connections.line import Line, Stats
from gate.stores.redis.take_scripts import ScriptPair
from gate.stores.redis.takes import TakeLane

DEADLINE_S = 0.05
ANSWER = b"*2\r\n$0\r\n\r\n$8\r\n" + bytes(8) + b"\r\n"
"""The answer to a batch, without an entry for any check, at the time 0."""


@contextmanager
def server(connects_in_s: float) -> Iterator[int]:
    """A server in a thread of its own. It takes so long for each greeting, and answers all else at once."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()
        except OSError:
            return

    def answer(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1 << 16):
                if b"SETNAME" in data:
                    time.sleep(connects_in_s)
                commands = len(re.findall(rb"\*\d+\r\n", data))
                connection.sendall(ANSWER if b"EVALSHA" in data else b"+OK\r\n" * commands)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_answer_that_came_in_time_counts_although_the_process_reads_it_late(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def asked(port: int) -> object:
        line = Line(f"redis://127.0.0.1:{port}/0")
        await line.connect(5.0)
        asking = asyncio.create_task(line.execute(b"PING", within_s=DEADLINE_S))
        await asyncio.sleep(0)

        time.sleep(3 * DEADLINE_S)  # another callback of the loop, or another process on its core

        try:
            return await asking
        finally:
            await line.close()

    with server(connects_in_s=0.0) as port, asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(asked(port)) == b"OK"


def test_a_server_to_which_it_takes_longer_to_connect_than_a_check_may_take_is_not_away() -> None:
    async def probed(port: int) -> bool:
        stats = Stats()
        line = Line(f"redis://127.0.0.1:{port}/0", stats=stats)
        try:
            await TakeLane(line, ScriptPair(), "ug:", stats).probe(DEADLINE_S)
            return line.is_open
        finally:
            await line.close()

    with server(connects_in_s=2 * DEADLINE_S) as port:
        assert asyncio.run(probed(port))
