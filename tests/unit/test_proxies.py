"""The fault-injecting proxy does what it says to real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gate.local.free_port import LOOPBACK, free_port
from tests.proxies import FaultProxy, HoldRequest
from tests.waiting import eventually


class Echo:
    """A server that keeps what it hears, and sends it back."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                self.heard += data
                writer.write(data)
        except OSError:
            pass
        self.ended += 1
        writer.close()


@asynccontextmanager
async def echo_behind(hold_request: HoldRequest | None = None) -> AsyncIterator[tuple[Echo, FaultProxy, int]]:
    echo, port, own = Echo(), free_port(), free_port()
    server = await asyncio.start_server(echo.serve, LOOPBACK, own)
    async with server, FaultProxy(port, own, hold_request) as proxy:
        yield echo, proxy, port


async def test_what_passes_is_unchanged_and_an_end_is_passed_on() -> None:
    async with echo_behind() as (echo, proxy, port):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        sent = bytes(range(256)) * 4_000

        writer.write(sent)
        got = await reader.readexactly(len(sent))
        writer.close()

        assert got == sent
        await eventually(lambda: echo.ended == 1 and proxy.connections == 0)


@pytest.mark.parametrize("direction", ["delay_to_server_s", "delay_to_client_s"])
async def test_each_direction_is_delayed_by_itself(direction: str) -> None:
    async with echo_behind() as (_, proxy, port):
        setattr(proxy, direction, 0.2)
        clock = asyncio.get_running_loop().time
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        started = clock()

        writer.write(b"hello")
        got = await reader.readexactly(5)

        assert got == b"hello"
        assert clock() - started >= 0.2
        writer.close()


async def test_what_is_held_waits_for_its_release_and_none_is_lost() -> None:
    async with echo_behind() as (echo, proxy, port):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        proxy.hold()

        writer.write(b"held")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.readexactly(4)
        before = echo.heard
        proxy.release()

        assert before == b""
        assert await reader.readexactly(4) == b"held"
        writer.close()


async def test_a_drop_ends_both_sides() -> None:
    async with echo_behind() as (echo, proxy, port):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"hello")
        await reader.readexactly(5)

        proxy.drop()

        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        await eventually(lambda: echo.ended == 1 and proxy.connections == 0)
        writer.close()


async def test_the_server_still_gets_what_a_client_sent_that_was_cut_off() -> None:
    async with echo_behind() as (echo, proxy, port):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"hello")
        await reader.readexactly(5)
        proxy.hold()
        writer.write(b" and on its way")
        await writer.drain()
        await eventually(lambda: proxy.waiting > 0)

        proxy.half_open()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        ended_before = echo.ended
        proxy.release()

        await eventually(lambda: echo.heard == b"hello and on its way" and echo.ended == 1)
        assert ended_before == 0
        writer.close()


async def test_a_proxy_that_refuses_lets_nobody_in() -> None:
    async with echo_behind() as (_, proxy, port):
        proxy.refuses = True

        reader, writer = await asyncio.open_connection(LOOPBACK, port)

        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert proxy.connections == 0
        writer.close()


def holding(body: bytes, seconds: float) -> Callable[[bytes], float]:
    return lambda message: seconds if message == body else 0.0


async def test_one_message_is_held_while_another_connection_overtakes_it() -> None:
    slow, fast = b"\0\0\0\4slow", b"\0\0\0\4fast"
    async with echo_behind(holding(b"slow", 0.3)) as (echo, _, port):
        _, first = await asyncio.open_connection(LOOPBACK, port)
        first.write(slow)
        await first.drain()
        first.close()
        reader, second = await asyncio.open_connection(LOOPBACK, port)

        second.write(fast[:3])
        await second.drain()
        second.write(fast[3:])

        assert await reader.readexactly(8) == fast
        assert echo.heard == fast
        await eventually(lambda: echo.heard == fast + slow)
        second.close()
