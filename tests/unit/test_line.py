"""One connection to Redis, against a server that a test holds in its hand: one deadline bounds all of a call."""

from __future__ import annotations

import asyncio
import re
import select
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gate.errors import StoreUnavailable
from gate.stores.redis.connections.line import Line
from gate.stores.redis.connections.script_call import Run, Script

SCRIPT = Script(b"return 1")
Reply = Callable[[bytes], "tuple[float, bytes | None]"]


@asynccontextmanager
async def scripted_server(reply: Reply) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server on a free port that answers +OK; to the verbs of scripts what `reply` gives: a delay (s), and bytes or None.

    Yields its URL and the verbs of scripts that it received.
    """
    verbs: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                found = re.search(rb"EVALSHA|EVAL", data)
                if found is None:
                    writer.write(b"+OK\r\n" * len(re.findall(rb"\*\d+\r\n", data)))
                    continue
                verbs.append(found[0])
                delay_s, answer = reply(found[0])
                await asyncio.sleep(delay_s)
                if answer is not None:
                    writer.write(answer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", verbs
    finally:
        server.close()
        await server.wait_closed()


def no_script_late(verb: bytes) -> tuple[float, bytes | None]:
    """The server has lost the script and says so after 0.6 s; the script itself it never answers."""
    return (0.6, b"-NOSCRIPT No matching script\r\n") if verb == b"EVALSHA" else (0.0, None)


def milliseconds(error: pytest.ExceptionInfo[StoreUnavailable]) -> int:
    found = re.search(r"did not answer within (\d+) ms", str(error.value))
    assert found is not None, error.value
    return int(found[1])


async def test_a_script_that_the_server_lost_is_sent_again_within_the_deadline_of_the_first_call() -> None:
    async with scripted_server(no_script_late) as (url, verbs):
        line = Line(url)
        await line.execute(b"PING", within_s=5.0)

        with pytest.raises(StoreUnavailable) as error:
            await line.run((Run(SCRIPT, (), ()),), 1.0)

        await line.close()

    assert verbs == [b"EVALSHA", b"EVAL"]
    assert milliseconds(error) <= 400


async def test_a_call_whose_reply_is_lost_is_repeated_within_the_deadline_of_the_first_call() -> None:
    async with scripted_server(lambda verb: (0.0, None)) as (url, verbs):
        line = Line(url)
        await line.execute(b"PING", within_s=5.0)

        with pytest.raises(StoreUnavailable) as error:
            await line.run((Run(SCRIPT, (), ()),), 0.4, again=True)

        await line.close()

    assert verbs == [b"EVALSHA", b"EVALSHA"]
    assert milliseconds(error) <= 200


async def test_a_call_that_a_late_process_leaves_no_time_says_so_and_names_no_negative_time(
    line: Line, unique: Callable[[], str]
) -> None:
    await line.execute(b"PING", within_s=5.0)

    with pytest.raises(StoreUnavailable, match="was left no time to answer: this process was held up") as error:
        await line.execute(b"BLPOP", unique(), b"0", within_s=-39.0)  # no answer comes, however late the look for it is

    assert "ms" not in str(error.value)


async def test_a_call_without_time_leaves_the_connection_open(line: Line, unique: Callable[[], str]) -> None:
    await line.execute(b"PING", within_s=5.0)
    before = line._replies

    with pytest.raises(StoreUnavailable):
        await line.execute(b"PING", within_s=-1.0)

    assert await line.execute(b"PING", within_s=5.0) == b"PONG"
    assert line._replies is before


@pytest.mark.parametrize("begins", [False, True])
async def test_a_long_reply_that_came_while_the_process_was_held_up_is_read(
    line: Line, unique: Callable[[], str], begins: bool
) -> None:
    key, value = unique(), b"x" * 2_000_000
    await line.execute(b"SET", key, value, within_s=5.0)
    before, loop = line._replies, asyncio.get_running_loop()
    read = Run(Script(b"return redis.call('GET', KEYS[1])"), (key,), ())
    assert await line.run((read,), 5.0) == [value]
    found: asyncio.Future[object] = loop.create_future()

    if begins:
        assert line.begin(read, loop.time() + 0.1, found.set_result)
    else:
        running = asyncio.create_task(line.run((read,), 0.1))
        await asyncio.sleep(0)
    hold_up_until_answered(line)
    got = await found if begins else (await running)[0]

    assert got == value
    assert line._replies is before


def hold_up_until_answered(line: Line) -> None:
    """Block this process until the reply fills the socket's buffer, and the deadline is over."""
    transport = line._open_replies()._transport
    number = transport.get_extra_info("socket").fileno()
    deadline = time.monotonic() + 10
    while not select.select([number], [], [], 0.01)[0] and time.monotonic() < deadline:
        pass
    time.sleep(0.2)  # the process is held up: no test waits for anything here
