"""Runs one uvicorn server on one listening socket, and stops it. The caller chooses the app and when to stop."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from gate.errors import LocalServerError, SettingInvalid
from gate.serve.hot.app import OneWriteProtocol, SweepingServer
from gate.serve.hot.edge_limits import EdgeConfig, EdgeLimits
from gate.settings import TlsFiles

DRAIN_S: Final = 2
BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 75
"""An idle connection is kept for longer than the pools of common clients and proxies keep theirs (60 s)."""


NO_LIMITS: Final = EdgeLimits()
"""The default limits, whose refusals nobody counts."""


class Server(SweepingServer):
    """A uvicorn server without its signal handlers, because a second SIGTERM must not become a hard exit."""

    def __init__(self, app: Any, limits: EdgeLimits, tls: TlsFiles | None = None) -> None:
        config = EdgeConfig(
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
            timeout_keep_alive=KEEP_ALIVE_S,
            **({} if tls is None else _tls_options(tls)),
        )
        config.limits = limits
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
async def serving(
    app: Any, port: socket.socket, limits: EdgeLimits = NO_LIMITS, tls: TlsFiles | None = None
) -> AsyncIterator[Server]:
    """Serve `app` on a listening socket. On exit, requests that are under way have two seconds to finish.

    Raises SettingInvalid if the files of `tls` cannot be used.
    """
    server = _server(app, limits, tls)
    task = asyncio.create_task(server.serve([port]), name="http server")
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.005)
        yield server
    finally:
        server.should_exit = True
        await task


def _server(app: Any, limits: EdgeLimits, tls: TlsFiles | None) -> Server:
    server = Server(app, limits, tls)
    try:
        server.config.load()
    except (OSError, ssl.SSLError) as error:
        raise SettingInvalid(
            f"the files of UPLOAD_GATE_TLS_CERT, _KEY and _CLIENT_CA cannot be used: {error}", "check that they are PEM"
        ) from None
    return server


def _tls_options(tls: TlsFiles) -> dict[str, Any]:
    """uvicorn's options for TLS. A client without a certificate of the authorities gets no connection."""
    options: dict[str, Any] = {"ssl_certfile": str(tls.cert), "ssl_keyfile": str(tls.key)}
    if tls.client_ca is not None:
        options |= {"ssl_ca_certs": str(tls.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return options


def allow_files(wanted: int) -> int:
    """Let this process open `wanted` files and sockets, or as many as the system permits. Returns how many it may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    permitted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < permitted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (permitted, hard))
        return permitted
    return soft


@contextmanager
def listening(host: str, port: int, variable: str, shared: bool = False) -> Iterator[socket.socket]:
    """A listening socket. Raises LocalServerError if another process has the port, SettingInvalid if the address cannot
    be bound otherwise; both name `variable`. Processes that all bind a port as `shared` get its connections in turn.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            problem = f"cannot listen on {host}:{port}: {error.strerror or error}"
            kind = LocalServerError if error.errno == errno.EADDRINUSE else SettingInvalid
            raise kind(problem, f"free it, or choose another with {variable}") from error
        listener.setblocking(False)
        yield listener
