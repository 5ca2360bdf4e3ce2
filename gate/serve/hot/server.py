"""Runs the app of the hot port on one listening socket, and stops it.

At the stop, requests under way get two seconds and idle connections none.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from functools import partial
from typing import Final

from gate.serve.hot.connection import HotConnection
from gate.serve.hot.edge import Edge
from gate.serve.hot.edge_limits import EdgeLimits
from gate.serve.hot.exchange import HotApp

DRAIN_S: Final = 2
BACKLOG: Final = 2048


class HotServer:
    """Serves `app` between start() and stop(), with TLS if there is a context."""

    def __init__(self, app: HotApp, limits: EdgeLimits, context: ssl.SSLContext | None = None) -> None:
        self.ended = asyncio.Event()
        self._app = app
        self._limits = limits
        self._context = context
        self._edge: Edge
        self._listener: asyncio.Server

    async def start(self, port: socket.socket) -> None:
        """Accept connections on a listening socket."""
        loop = asyncio.get_running_loop()
        self._edge = Edge(self._app, self._limits, loop)
        connection = partial(HotConnection, self._edge)
        # until its handshake is done no connection counts among those of the edge
        within_s = None if self._context is None else self._limits.request_s
        self._listener = await loop.create_server(
            connection, sock=port, ssl=self._context, backlog=BACKLOG, ssl_handshake_timeout=within_s,
            ssl_shutdown_timeout=within_s,
        )  # fmt: skip
        self._edge.sweep()

    async def stop(self) -> None:
        """Accept no more, let what is under way end, and abort what takes too long."""
        self._listener.close()
        self._edge.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._edge.emptied.wait()
        self._edge.stop()
        await asyncio.sleep(0)  # work that was cancelled has noted what is to be given back
        self.ended.set()
