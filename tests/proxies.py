"""A TCP proxy on loopback that delays, holds, cuts and half-opens what passes between clients and one server.

It changes no byte. With `hold_request` it cuts the way to the server into messages that carry their length in front,
as Kafka's do, so that one kind of request can be held while all others pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

from gate.local.free_port import LOOPBACK

CHUNK = 1 << 16
MAX_WAITING = 1_000
"""Pieces that wait in one connection for their time; then its sender waits."""

HoldRequest = Callable[[bytes], float]
"""How many seconds a message, without its length, is held; what follows in its connection waits behind it."""


class FaultProxy:
    """Listens on `port` and passes on to `server_port`. All faults may be changed at any time."""

    def __init__(self, port: int, server_port: int, hold_request: HoldRequest | None = None) -> None:
        self.delay_to_server_s = 0.0
        self.delay_to_client_s = 0.0
        self.refuses = False
        self.waiting = 0
        """Pieces that are between two ends."""
        self._port = port
        self._server_port = server_port
        self._hold_request = hold_request
        self._passing = asyncio.Event()
        self._passing.set()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._stalled: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, LOOPBACK, self._port, limit=1 << 20)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.drop()
        await asyncio.gather(*(connection.over.wait() for connection in self._connections))

    @property
    def connections(self) -> int:
        """Connections to the server that are open, also those whose client has gone."""
        return len(self._connections)

    def hold(self) -> None:
        """Nothing passes in either direction until `release`; connections are accepted, and nothing is lost."""
        self._passing.clear()

    def release(self) -> None:
        """What was held goes on."""
        self._passing.set()

    def stall(self) -> None:
        """The connections of now stay open and pass nothing any more; new ones pass everything."""
        for connection in self._connections:
            self._stalled |= {connection.client, connection.server}

    def lead_to(self, server_port: int) -> None:
        """Connections from now on lead to the server on that port; those that are open are aborted."""
        self._server_port = server_port
        self.drop()

    def drop(self) -> None:
        """Abort all connections at both ends; what was on its way is lost."""
        for connection in self._connections:
            connection.abort()

    def half_open(self) -> None:
        """Abort the client's end of all connections. The server hears nothing of it and still gets what was held."""
        for connection in self._connections:
            connection.client.transport.abort()

    async def _accepted(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self.refuses:
            client.transport.abort()
            return
        try:
            from_server, server = await asyncio.open_connection(LOOPBACK, self._server_port)
        except OSError:
            client.transport.abort()
            return
        connection = _Connection(client, server)
        self._connections.add(connection)
        pumps = (
            asyncio.create_task(self._pump(reader, server, lambda: self.delay_to_server_s, self._hold_request)),
            asyncio.create_task(self._pump(from_server, client, lambda: self.delay_to_client_s, None)),
        )
        try:
            connection.pumps = pumps
            # the client may go before what it sent has reached the server, and the server may not go first
            await asyncio.wait(pumps, return_when=asyncio.ALL_COMPLETED)
        finally:
            connection.abort()
            self._connections.discard(connection)
            self._stalled -= {connection.client, connection.server}
            connection.over.set()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        delay_s: Callable[[], float],
        hold_request: HoldRequest | None,
    ) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_WAITING)
        delivering = asyncio.create_task(self._deliver(waiting, writer))
        clock = asyncio.get_running_loop().time
        try:
            while piece := await _piece(reader, framed=hold_request is not None):
                held_s = hold_request(piece[4:]) if hold_request is not None else 0.0
                self.waiting += 1
                await waiting.put((clock() + delay_s() + held_s, piece))
            await waiting.put((0.0, b""))
            await delivering
        finally:
            delivering.cancel()
            self.waiting -= waiting.qsize()

    async def _deliver(self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        """Deliver in order, each piece not before its time; what nobody reads any more is passed over."""
        clock = asyncio.get_running_loop().time
        while True:
            due, piece = await waiting.get()
            if due > clock():
                await asyncio.sleep(due - clock())
            await self._passing.wait()
            if writer in self._stalled:
                await asyncio.Event().wait()  # until the connection is aborted, which cancels this
            if not piece:
                with contextlib.suppress(OSError, RuntimeError):
                    writer.close()
                return
            with contextlib.suppress(OSError, RuntimeError):
                writer.write(piece)
                await writer.drain()
            self.waiting -= 1


class LosesReplies:
    """Listens on `port`, passes all on to `server_port`, and loses `most` replies to commands named `to`, from the one after
    the first `kept` on: the server has carried them out. Where it `drops`, the connection ends with the reply, else the client
    hears nothing more on it.
    """

    def __init__(self, port: int, server_port: int, to: bytes, most: int, *, drops: bool, kept: int = 0) -> None:
        self.lost = 0
        self._kept = kept
        self._port, self._server_port, self._to, self._most, self._drops = port, server_port, to, most, drops
        self._server: asyncio.Server
        self._pumps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, LOOPBACK, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _accepted(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        from_server, server = await asyncio.open_connection(LOOPBACK, self._server_port)
        pump = asyncio.create_task(self._pass(from_client, client, from_server, server))
        self._pumps.add(pump)

    async def _pass(
        self,
        from_client: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        server: asyncio.StreamWriter,
    ) -> None:
        """One command after the other, as a client sends them that waits for each reply."""
        try:
            while command := await from_client.read(CHUNK):
                server.write(command)
                reply = await from_server.read(CHUNK)
                is_meant = self._to in command and self.lost < self._most
                if not is_meant or self._kept > 0:
                    self._kept -= is_meant
                    client.write(reply)
                    continue
                self.lost += 1
                if self._drops:
                    return
                await from_client.read(CHUNK)
        finally:
            client.transport.abort()
            server.transport.abort()


class _Connection:
    """Both ends of one connection."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.pumps: tuple[asyncio.Task[None], ...] = ()
        self.over = asyncio.Event()

    def abort(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()
        for pump in self.pumps:
            pump.cancel()


async def _piece(reader: asyncio.StreamReader, framed: bool) -> bytes:
    """The next bytes, one whole message where they are `framed`; empty at the end."""
    try:
        if not framed:
            return await reader.read(CHUNK)
        length = await reader.readexactly(4)
        return length + await reader.readexactly(*struct.unpack(">i", length))
    except (OSError, asyncio.IncompleteReadError):
        return b""
