"""Runs one uvicorn server on one listening socket, and stops it. The caller chooses the app and when to stop."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import uvicorn

from gate.errors import LocalServerError, SettingInvalid
from gate.serve.hot.app import OneWriteProtocol

DRAIN_S: Final = 2
BACKLOG: Final = 2048


class Server(uvicorn.Server):
    """A uvicorn server without its signal handlers, because a second SIGTERM must not become a hard exit."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(
            app,
            http=OneWriteProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=DRAIN_S,
        )
        super().__init__(config)
        self.ended = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers: the wiring installs its own."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit` is set. Sets `ended` when it returns or raises."""
        try:
            await super().serve(sockets)
        finally:
            self.ended.set()


@asynccontextmanager
async def serving(app: Any, port: socket.socket) -> AsyncIterator[Server]:
    """Serve `app` on a listening socket. On exit, requests that are under way have two seconds to finish."""
    server = Server(app)
    task = asyncio.create_task(server.serve([port]), name="http server")
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.005)
        yield server
    finally:
        server.should_exit = True
        await task


@contextmanager
def listening(host: str, port: int, variable: str) -> Iterator[socket.socket]:
    """A listening socket. Raises LocalServerError if another process has the port, SettingInvalid if the address cannot
    be bound otherwise; both name `variable`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            problem = f"cannot listen on {host}:{port}: {error.strerror or error}"
            kind = LocalServerError if error.errno == errno.EADDRINUSE else SettingInvalid
            raise kind(problem, f"free it, or choose another with {variable}") from error
        listener.setblocking(False)
        yield listener
